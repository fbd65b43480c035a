//! Which of several pools a job goes to.

use procpool::engine::input::Form;
use procpool::engine::input::route::Route;

use super::invocation::Invocation;
use super::misuse::Misuse;

/// How the pool of a job is found. `names`: those of the workers.
pub fn route(
    invocation: &Invocation<'_>,
    names: Vec<String>,
    form: &Form,
) -> Result<Route, Misuse> {
    let workers = &invocation.options.workers;
    let Some(key) = &workers.route else {
        return Ok(if names.is_empty() { Route::One } else { Route::Names(names) });
    };
    if !invocation.has_workers() {
        return Err("--route is for workers: name a --worker, or give code (--python …)".into());
    }
    if !names.is_empty() {
        return Err("--route needs a single kind of worker: leave out -w NAME=CMDLINE".into());
    }
    if invocation.options.throttling.procs_file.is_some() {
        return Err("--route gives each process its own keys, so their number can't change: give \
                    --max-procs N"
            .into());
    }
    let count = workers.max_procs.unwrap_or_else(invocation.machine.cpus);
    let route = Route::by_key(key, count).map_err(Misuse::new)?;
    check_key(&route, invocation, form)?;
    Ok(route)
}

/// Checks that jobs can have the key.
fn check_key(route: &Route, invocation: &Invocation<'_>, form: &Form) -> Result<(), Misuse> {
    let Route::Key { key, .. } = route else { return Ok(()) };
    let count = match form {
        Form::Job => return Ok(()),
        Form::Message | Form::Blocks(_) => Some(1),
        Form::Plain(_) => {
            let own = invocation.words.len().saturating_sub(1);
            invocation.most_args().map(|count| count + own)
        }
    };
    if invocation.has_arg_names() {
        return Ok(());
    }
    if key.check_names(&[]).is_err() {
        return Err("--route names a field, and the args of these lines have no names: give the \
                    number of an arg, or --header or --input json"
            .into());
    }
    match count.and_then(|count| key.clone().with_count(count).err()) {
        Some(message) => Err(Misuse::new(format!("--route: {message}"))),
        None => Ok(()),
    }
}
