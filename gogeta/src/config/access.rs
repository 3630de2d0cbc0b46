//! Who may see and do what on the admin listener.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use subtle::ConstantTimeEq as _;

use super::ConfigError;
use crate::cli::Options;
use crate::routes::host;
use crate::sandbox;

/// Characters that a token must have at least: fewer could be guessed.
const LEAST: usize = 16;

/// Who may see and do what on the admin listener.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Names by which the listener may be asked, beside addresses and `localhost`; in lower case.
    pub hosts: Vec<String>,
    /// What an operator shows to do something; where there is none, nobody can.
    pub token: Option<Token>,
}

/// A secret that is shown by nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// Whether that is it. How long this takes says nothing of how much of it is right.
    pub fn is(&self, text: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(text).into()
    }

    fn new(text: &str, place: &str) -> Result<Self, ConfigError> {
        let text = text.trim();
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() >= LEAST && is_visible {
            return Ok(Self(text.into()));
        }
        // It is not shown: an almost right one is a secret, too.
        Err(ConfigError(format!(
            "{place} must be {LEAST} characters at least, of ASCII and without spaces (openssl rand -hex 32 makes one)"
        )))
    }
}

impl Access {
    /// What these options say.
    ///
    /// # Errors
    ///
    /// Names the flag.
    pub(super) fn of(options: &Options) -> Result<Self, ConfigError> {
        let hosts =
            options.admin_host.iter().flatten().map(|name| name_of(name)).collect::<Result<_, _>>()?;
        let token = match (&options.admin_token, &options.admin_token_file) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                return Err(ConfigError(
                    "--admin-token and --admin-token-file are both given; the token is one of them"
                        .to_owned(),
                ));
            }
            (Some(token), None) => Some(Token::new(token, "--admin-token (GOGETA_ADMIN_TOKEN)")?),
            (None, Some(file)) => Some(read(file)?),
        };
        Ok(Self { hosts, token })
    }

    /// Whether a Host (without its port) is one that this listener is asked by. A name that anybody can have point here
    /// is none: by that a page of somebody else's could read the answers (DNS rebinding).
    pub fn knows(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        address.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

fn read(file: &Path) -> Result<Token, ConfigError> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        let why = sandbox::explained(&error);
        ConfigError(format!("cannot read {name} (--admin-token-file): {why}"))
    })?;
    Token::new(&text, &format!("the token in {name} (--admin-token-file)"))
}

fn name_of(text: &str) -> Result<String, ConfigError> {
    let wrong = || {
        ConfigError(format!(
            "--admin-host must be names without a port, such as gogeta.example.com, not {text:?}"
        ))
    };
    let parsed = host::parse(text.trim()).map_err(|_| wrong())?;
    if parsed.port.is_some() || parsed.host.is_empty() {
        return Err(wrong());
    }
    Ok(parsed.host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(options: Options) -> Result<Access, String> {
        Access::of(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_and_given_names_are_known() {
        let names = vec!["Admin.Example.com".to_owned(), "gogeta".to_owned()];
        let access = access(Options { admin_host: Some(names), ..Options::default() }).expect("good names");
        for host in
            ["127.0.0.1", "[::1]", "192.0.2.7", "localhost", "LocalHost.", "admin.example.COM", "gogeta"]
        {
            assert!(access.knows(host), "{host}");
        }
        for host in
            ["evil.test", "", "localhost.evil.test", "127.0.0.1.evil.test", "0x7f000001", "example.com"]
        {
            assert!(!access.knows(host), "{host}");
        }
    }

    #[test]
    fn a_token_is_itself_only_and_not_shown() {
        let token = Token::new(" 0123456789abcdef\n", "--x").expect("a good token");
        assert!(token.is(b"0123456789abcdef"));
        for other in [&b"0123456789abcdeg"[..], b"0123456789abcde", b"0123456789abcdef0", b""] {
            assert!(!token.is(other));
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn mistakes_name_the_flag_and_not_the_secret() {
        let token = |text: &str| Options { admin_token: Some(text.to_owned()), ..Options::default() };
        let file = |path: &Path| Options { admin_token_file: Some(path.to_owned()), ..Options::default() };
        let directory = tempfile::tempdir().expect("a directory");
        let short = directory.path().join("token");
        std::fs::write(&short, "secret\n").expect("written");
        let both = Options { admin_token: Some("x".repeat(20)), ..file(&short) };
        let host = |text: &str| Options { admin_host: Some(vec![text.to_owned()]), ..Options::default() };
        for (options, flag) in [
            (token("secret"), "--admin-token"),
            (token("secret secret secret"), "--admin-token"),
            (file(&short), "--admin-token-file"),
            (file(&directory.path().join("nothing")), "--admin-token-file"),
            (both, "--admin-token-file"),
            (host("a.test:80"), "--admin-host"),
            (host("a b"), "--admin-host"),
            (host(""), "--admin-host"),
        ] {
            let error = access(options).expect_err(flag);
            assert!(error.contains(flag) && !error.contains("secret"), "{error}");
        }
        std::fs::write(&short, "a-token-of-enough-length\n").expect("written");
        let token = access(file(&short)).expect("a good file").token.expect("a token");
        assert!(token.is(b"a-token-of-enough-length"));
    }
}
