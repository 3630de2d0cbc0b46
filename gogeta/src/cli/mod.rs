//! The command line: clap's half, and the spelling of the original gogeta.

mod commands;
mod legacy;
mod options;

use std::path::PathBuf;

use clap::Parser;

pub use commands::{Command, DemoOptions};
pub use legacy::modernise;
pub use options::{AccessLogFormat, DefaultRobots, LogFormat, Options, ResolverType};

/// A dynamic HTTP reverse proxy: its routes live in etcd (or a file) and change while it runs.
#[derive(Debug, Parser)]
#[command(name = "gogeta", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(
    after_help = "Every flag has an environment variable (GOGETA_LISTEN, ..) and a key of the same name \
    in the file that --config names.\nA flag goes before the environment, that before the file, and that \
    before the default.\nThe original's spelling works too: gogeta -etcdAddress=http://127.0.0.1:2379 \
    -resolverType Env -port 7777"
)]
pub struct Cli {
    /// What to do; serves where nothing else is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags for serving.
    #[command(flatten)]
    pub options: Options,
    /// Read further options from this TOML file.
    #[arg(long, value_name = "FILE", env = "GOGETA_CONFIG")]
    pub config: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Seconds;
    use clap::CommandFactory;
    use std::ffi::OsString;

    fn parse(line: &str) -> Cli {
        let arguments = line.split_whitespace().map(OsString::from);
        Cli::try_parse_from(modernise(arguments)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_command_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        for argument in Cli::command().get_arguments() {
            let Some(long) = argument.get_long().filter(|long| !["help", "version"].contains(long)) else {
                continue;
            };
            let variable = format!("GOGETA_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(&*variable), "--{long}");
        }
    }

    #[test]
    fn the_originals_command_line() {
        let cli = parse(
            "gogeta -etcdAddress=http://172.17.42.1:4001 -domainDir=/d --serviceDir=/s -templateDir=./t -port 7777 \
             -resolverType Env -lastAccessInterval 10 -forceFwSsl -UrlHeaderParam nuxeo-virtual-host \
             -cpuProfile /tmp/p -logtostderr=true -v=5",
        );
        let options = cli.options;
        assert_eq!(options.etcd_address, Some(vec!["http://172.17.42.1:4001".to_owned()]));
        assert_eq!(options.domain_dir.as_deref(), Some("/d"));
        assert_eq!(options.service_dir.as_deref(), Some("/s"));
        assert_eq!(options.template_dir, Some("./t".into()));
        assert_eq!(options.port, Some(7777));
        assert_eq!(options.resolver_type, Some(ResolverType::Env));
        assert_eq!(options.last_access_interval, Some(Seconds::from_secs(10)));
        assert_eq!(options.force_fw_ssl, Some(true));
        assert_eq!(options.url_header_param.as_deref(), Some("nuxeo-virtual-host"));
        assert_eq!(options.cpu_profile, Some("/tmp/p".into()));
        assert_eq!(options.log.as_deref(), Some("debug"));
    }

    #[test]
    fn spellings() {
        assert_eq!(parse("gogeta -forceFwSsl=false").options.force_fw_ssl, Some(false));
        assert_eq!(parse("gogeta --resolver-type dummy").options.resolver_type, Some(ResolverType::Dummy));
        assert_eq!(
            parse("gogeta --listen [::]:80,127.0.0.1:81").options.listen.map(|all| all.len()),
            Some(2)
        );
        assert!(Cli::try_parse_from(["gogeta", "--lisen", "x"]).is_err());
        assert!(Cli::try_parse_from(["gogeta", "--listen", "nowhere"]).is_err());
    }
}
