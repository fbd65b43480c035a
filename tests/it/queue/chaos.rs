//! Submitters, machines and the server are killed at random, and each job has one result.

use super::kit::{QueueServer, numbers};
use crate::common::{Running, wait_for};

/// Numbers that look random, from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn kills_lose_nothing_and_print_nothing_twice() {
    let Some(mut server) = QueueServer::start() else { return };
    let mut dice = Dice(19);
    let noting = server.noting("sleep 0.01; ");
    let args = [
        &["-j2", "--ack-wait", "0.5s", "--retries", "99"][..],
        &noting.each_ref().map(String::as_str),
    ]
    .concat();
    let machine = |server: &QueueServer| server.machine(&args);
    let submit = |server: &QueueServer| -> Running {
        server
            .via()
            .args(["--run", "r"])
            .stdin(numbers(150))
            .any_stdout()
            .any_stderr()
            .any_status()
            .spawn()
    };
    let mut machines = vec![machine(&server), machine(&server)];
    let mut run = submit(&server);
    let mut kills = 0;
    while kills < 24 {
        // The next kill comes after some more jobs, or while things still start.
        let enough = server.ran().len() + dice.below(10) as usize;
        wait_for("jobs run", || run.has_ended() || server.ran().len() >= enough);
        kills += 1;
        match dice.below(5) {
            0 => server.restart(),
            1 | 2 => {
                run.kill();
                run.finish();
                run = submit(&server);
            }
            nth => {
                let nth = nth as usize - 3;
                machines[nth].kill();
                machines[nth] = machine(&server);
            }
        }
    }
    wait_for("it ends", || run.has_ended());
    let output = run.finish();
    assert_eq!(String::from_utf8_lossy(&output.stdout), numbers(150), "{}", output.stderr);
    drop(machines);
    println!("{} runs of 150 jobs", server.ran().len());
}
