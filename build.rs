//! How the command is linked, so that it starts sooner.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    // These were tried. The static program for musl is linked as .cargo/config.toml says.
    if env::var_os("CARGO_FEATURE_CLI").is_some()
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && !is_static
    {
        // At a place that is known, the program needs none of 25,000 relocations in 112 pages.
        println!("cargo::rustc-link-arg-bins=-no-pie");
        // The unwinder becomes a part of the program, so that the loader has a library less to find.
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
