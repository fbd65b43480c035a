// A server with a pool: `curl -d '"a banana"' localhost:3000/vowels`.
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use procpool::{Code, Kind, Pool};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::code(&Code::python("sum(c in 'aeiou' for c in x)"))
        .max_procs(4)
        .prestart(4)
        .max_queue(100)
        .timeout(Duration::from_secs(10))
        .build()?;
    let app = Router::new().route("/vowels", post(vowels)).with_state(pool.clone());
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    let end = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app).with_graceful_shutdown(end).await?;
    pool.shutdown().await;
    Ok(())
}

/// If the client hangs up, axum drops this future, and that cancels the job.
async fn vowels(
    State(pool): State<Pool>,
    Json(text): Json<String>,
) -> Result<Json<u64>, (StatusCode, String)> {
    // A full queue is said at once: the client may come again.
    pool.try_process("", [text]).await.map(Json).map_err(|failure| {
        let status = match failure.kind {
            Kind::Full => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, failure.message)
    })
}
