//! A worker for procpool. Save it as src/main.rs of a new package and try it:
//!
//!     cargo add serde_json && cargo build --release
//!     printf 'greet ["Ada"]\ngreet ["Grace"]\n' | procpool --worker target/release/NAME

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

/// Runs a job. What takes long to load or to open is loaded in `main`, once.
fn run(cmd: &str, args: &Value) -> Result<Value, String> {
    match cmd {
        "greet" => {
            let name = args[0].as_str().ok_or("greet needs a name")?;
            Ok(json!(format!("hello, {name}")))
        }
        _ => Err(format!("there is no command '{cmd}'")),
    }
}

fn main() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let id = &request["id"];
        let reply = match run(request["cmd"].as_str().unwrap_or_default(), &request["args"]) {
            Ok(result) => json!({ "id": id, "result": result }),
            Err(error) => json!({ "id": id, "error": error }), // this job fails, and the worker goes on
        };
        // stdout is for replies. Print everything else to stderr: eprintln!(…).
        writeln!(stdout, "{reply}")?;
        stdout.flush()?;
    }
    Ok(()) // procpool has closed stdin
}
