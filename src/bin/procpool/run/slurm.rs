//! The nodes of an allocation of Slurm: their names and CPUs, and the step that starts an agent on one.

use std::process::Command;

use anyhow::Context as _;

use super::host_list::NamedHost;
use crate::plan::Misuse;

/// The nodes of the allocation that this process runs in, each with its number of CPUs.
///
/// # Errors
/// There is no allocation, or Slurm does not say what is in it.
pub fn nodes() -> anyhow::Result<Vec<NamedHost>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let list = variable("SLURM_JOB_NODELIST").filter(|_| variable("SLURM_JOB_ID").is_some());
    let Some(list) = list else {
        return Err(Misuse::from(
            "--slurm runs jobs in an allocation of Slurm, and there is none here: get one with \
             'salloc -N4 procpool --slurm …', or run procpool in a script for sbatch",
        )
        .into());
    };
    let output = Command::new("scontrol")
        .args(["show", "hostnames", &list])
        .output()
        .context("scontrol can't be run, which knows the nodes of the allocation")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("scontrol does not say which nodes there are: {}", why.trim());
    }
    let names = String::from_utf8_lossy(&output.stdout);
    let mut cpus = cpus(&variable("SLURM_JOB_CPUS_PER_NODE").unwrap_or_default()).into_iter();
    let named = |name: &str| NamedHost { slots: cpus.next(), name: name.to_owned() };
    let nodes: Vec<_> = names.split_whitespace().map(named).collect();
    anyhow::ensure!(!nodes.is_empty(), "the allocation has no node");
    Ok(nodes)
}

/// The number of CPUs of each node, as Slurm writes them: `4(x2),2` is 4, 4, 2.
fn cpus(text: &str) -> Vec<usize> {
    let mut all = Vec::new();
    for item in text.split(',') {
        let (count, times) = item.split_once("(x").unwrap_or((item, "1)"));
        let times = times.trim_end_matches(')').parse().unwrap_or(1_usize).min(1 << 16);
        if let Ok(count) = count.parse::<usize>() {
            all.extend(std::iter::repeat_n(count.clamp(1, 1 << 16), times));
        }
    }
    all
}

/// The words that start a program on a node: one step, which has all CPUs of the node that the
/// allocation has, and hands bytes on as they come.
pub fn launcher() -> Vec<String> {
    const WORDS: [&str; 11] = [
        "srun",
        "--nodes=1",
        "--ntasks=1",
        "--ntasks-per-node=1",
        "--nodelist={host}",
        "--overlap",
        "--mem=0",
        "--cpu-bind=none",
        "--unbuffered",
        "--kill-on-bad-exit=0",
        "--quiet",
    ];
    WORDS.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_counted_as_slurm_counts_them() {
        assert_eq!(cpus("4(x2),2"), [4, 4, 2]);
        assert_eq!(cpus("1"), [1]);
        assert_eq!(cpus(""), Vec::<usize>::new());
    }
}
