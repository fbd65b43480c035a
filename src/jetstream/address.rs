//! The address of a queue: `nats://HOST:PORT,HOST:PORT/NAME`.

use std::fmt;
use std::str::FromStr;

/// The servers of a queue, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueAddress {
    /// An address for each server, with its scheme.
    pub(super) servers: Vec<String>,
    pub(super) name: String,
}

impl FromStr for QueueAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "it is nats://HOST:PORT/NAME";
        let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
        if !matches!(scheme, "nats" | "tls") {
            return Err(format!("the scheme is nats or tls: {FORM}"));
        }
        let (servers, name) = rest
            .split_once('/')
            .ok_or("the name of the queue is missing: it is nats://HOST:PORT/NAME")?;
        if servers.contains('@') {
            return Err("credentials do not belong on the command line, where other users see \
                        them: set NATS_CREDS to a file, or NATS_TOKEN, or NATS_USER and NATS_PASSWORD"
                .to_owned());
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
            return Err("the name of a queue has letters, digits, - and _, at most 64: \
                        nats://HOST:PORT/NAME"
                .to_owned());
        }
        if servers.split(',').any(str::is_empty) {
            return Err(format!("a server has no name: {FORM}"));
        }
        let servers = servers.split(',').map(|server| format!("{scheme}://{server}")).collect();
        Ok(Self { servers, name: name.to_owned() })
    }
}

impl fmt::Display for QueueAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, _) = self.servers[0].split_once("://").unwrap_or_default();
        let hosts: Vec<_> =
            self.servers.iter().filter_map(|server| Some(server.split_once("://")?.1)).collect();
        write!(f, "{scheme}://{}/{}", hosts.join(","), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written() {
        let address: QueueAddress = "nats://a:1,b/Q_1-x".parse().expect("an address");
        assert_eq!(address.servers, ["nats://a:1", "nats://b"]);
        assert_eq!(
            (address.name.as_str(), address.to_string().as_str()),
            ("Q_1-x", "nats://a:1,b/Q_1-x")
        );
        for wrong in [
            "a/b",
            "http://a/b",
            "nats://a",
            "nats://a/",
            "nats:///q",
            "nats://a,/q",
            "nats://a/b.c",
            "nats://a/*",
        ] {
            assert!(wrong.parse::<QueueAddress>().is_err(), "{wrong}");
        }
        let error = "nats://me:secret@a/q".parse::<QueueAddress>().expect_err("credentials");
        assert!(error.contains("NATS_CREDS") && !error.contains("secret"), "{error}");
    }
}
