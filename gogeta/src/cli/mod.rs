//! The command line: clap's half, and the spelling of the original gogeta.

mod commands;
mod legacy;
mod options;
mod running;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser};

pub use commands::*;
pub use legacy::modernise;
pub use options::{
    AccessLogFormat, DefaultRobots, LogFormat, Options, OtlpProtocol, ResolverType, SandboxMode,
};
pub use running::{AdminFlags, ExplainOptions, StatusOptions, TopOptions};

/// A dynamic HTTP reverse proxy: its routes live in etcd (or a file) and change while it runs.
#[derive(Debug, Parser)]
#[command(name = "gogeta", version, max_term_width = 100)]
#[command(
    after_help = "Every flag has an environment variable (GOGETA_LISTEN, ..) and a key of the same name \
    in the file that --config names.\nA flag goes before the environment, that before the file, and that \
    before the default.\nThe original's spelling works too: gogeta -etcdAddress=http://127.0.0.1:2379 \
    -resolverType Env -port 7777\nCommands have helps with examples of their own: gogeta route set --help"
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

impl Cli {
    /// What these arguments say, in today's spelling or the original's.
    ///
    /// # Errors
    ///
    /// What is wrong with them, or the help that they ask for.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(modernise(arguments))?;
        if let Some(name) = matches.subcommand_name() {
            // In front of a command, where etcd is may be said; the rest is for serving, and would be lost here.
            let common = EtcdFlags::augment_args(clap::Command::new("common"));
            let is_common = |id: &str| id == "config" || common.get_arguments().any(|arg| arg.get_id() == id);
            let given = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
            let given = matches.ids().filter(given).map(clap::Id::as_str);
            let of_serving =
                |id: &&str| !is_common(id) && command.get_arguments().any(|arg| arg.get_id() == *id);
            if let Some(id) = given.into_iter().find(of_serving) {
                let why =
                    format!("--{} is for serving, and says nothing to `gogeta {name}`", id.replace('_', "-"));
                return Err(command.error(ErrorKind::ArgumentConflict, why));
            }
        }
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut Self::command()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Seconds;

    fn parse(line: &str) -> Cli {
        let arguments = line.split_whitespace().map(OsString::from);
        Cli::from_arguments(arguments).unwrap_or_else(|error| panic!("{line}: {error}"))
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

    #[test]
    fn where_etcd_is_may_be_said_before_and_behind_a_command() {
        let before = parse("gogeta -etcdAddress=http://a:1 route ls");
        assert_eq!(before.options.etcd_address, Some(vec!["http://a:1".to_owned()]));
        let behind = parse("gogeta route ls -domainDir=/d");
        let Some(Command::Route(RouteCommand::Ls(ls))) = behind.command else { panic!("route ls") };
        assert_eq!(ls.common.etcd.options().domain_dir.as_deref(), Some("/d"));
        let arguments = ["gogeta", "--listen", "127.0.0.1:0", "route", "ls"].map(OsString::from);
        let error = Cli::from_arguments(arguments).expect_err("it is for serving").to_string();
        assert!(error.contains("--listen"), "{error}");
    }

    #[test]
    fn commands_have_the_proxys_flags_for_etcd() {
        let proxy = Cli::command();
        for argument in EtcdFlags::augment_args(clap::Command::new("common")).get_arguments() {
            let find = |other: &&clap::Arg| other.get_id() == argument.get_id();
            let its = proxy.get_arguments().find(find).expect("the proxy has it");
            assert_eq!(argument.get_long(), its.get_long());
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let variable = its.get_env().and_then(|name| name.to_str()).unwrap_or_default();
            assert!(help.contains(&format!("[env: {variable}]")), "{help}");
        }
    }
}
