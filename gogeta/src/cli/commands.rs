//! What gogeta can do besides serving, and the flags of it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ExplainOptions, Options, StatusOptions, TopOptions};
use crate::config::Seconds;

/// What gogeta can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the main job with nothing else installed: backends, routes in each state, proxy and admin page.
    Demo(DemoOptions),
    /// List, set and remove routes: which host goes where.
    #[command(subcommand)]
    Route(RouteCommand),
    /// List, set and remove instances of services, and their status.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Look for mistakes in everything that etcd or a routes file has
    #[command(after_help = "Examples:\n  gogeta check\n  gogeta check --routes routes.toml --strict\n  \
        gogeta check --json | jq -r '.findings[].key'\n\n\
        Exit codes: 0 all is good; 1 there is a mistake; 2 wrong usage, or etcd or the file cannot be read.")]
    Check(CheckOptions),
    /// Write everything that etcd has as a routes file
    #[command(
        after_help = "Examples:\n  gogeta export -o routes.toml\n  gogeta export | diff routes.toml -\n\n\
        What the proxy's form of a routes file has no word for is kept under [other]. Keys under a lease are left \
        out, and counted: whoever keeps the lease writes them, and without it they would stay for ever.\n\n\
        Exit codes: 0 all is written; 1 it is not; 2 wrong usage, or etcd cannot be used."
    )]
    Export(ExportOptions),
    /// Write what a routes file has to etcd, each domain and each instance as one
    #[command(
        after_help = "Examples:\n  gogeta import routes.toml --dry-run\n  gogeta import routes.toml --prune\n  \
        gogeta export --etcd-address http://a:2379 | gogeta import - --etcd-address http://b:2379\n\n\
        What is there already is not written again, and keys under a lease are left alone.\n\n\
        Exit codes: 0 done; 1 the file is wrong, or somebody changed something meanwhile; 2 wrong usage, or etcd \
        cannot be used."
    )]
    Import(ImportOptions),
    /// Keep an instance in etcd for as long as it runs: this command, or the one that it starts
    #[command(after_help = "Examples:\n  gogeta register web 1 --location 10.0.0.5:8080\n  \
        gogeta register web 1 --location 10.0.0.5:8080 --ttl 10s -- /usr/bin/server --port 8080\n\n\
        All keys are under one lease. With a command, status/current is starting until its port takes connections; \
        TERM, INT and HUP are passed on to it, and when it ends the keys go at once. status/expected is set to started \
        where nobody has set it for good.\n\n\
        Exit codes: that of the command, 128 and the signal that ended it, 127 or 126 where it cannot be started; \
        without a command 0; 2 wrong usage, or etcd cannot be used.")]
    Register(RegisterOptions),
    /// Wait until the running gogetas have applied a revision, or until a host is in a state
    #[command(
        after_help = "Examples:\n  gogeta wait --revision \"$(gogeta route set a.test service web --json | jq .revision)\"\n  \
        gogeta wait a.test started --timeout 1m\n\n\
        Each gogeta publishes what it has applied below <publish-dir>/applied/. A host's state is that of its best\n\
        instance; started is also true of a host that goes to a URI.\n\n\
        Exit codes: 0 it is so; 1 it was not within --timeout; 2 wrong usage, or etcd cannot be used."
    )]
    Wait(WaitOptions),
    /// Show changes as they happen
    #[command(
        after_help = "Examples:\n  gogeta watch\n  gogeta watch /services/web/ --json | jq -r .key\n\n\
        It goes on when etcd is back, from the change where it stopped, and says so.\n\n\
        Exit codes: 2 wrong usage, or etcd cannot be used from the start; else it runs until a signal ends it."
    )]
    Watch(WatchOptions),
    /// Tell step by step how a request would be routed now
    #[command(
        after_help = "Examples:\n  gogeta explain www.example.com\n  gogeta explain https://www.example.com/shop?q=1\n  \
        gogeta explain www.example.com /robots.txt -X HEAD -H 'User-Agent: kube-probe/1'\n  \
        gogeta explain www.example.com --routes routes.toml\n  \
        gogeta explain www.example.com --etcd-address http://127.0.0.1:2379 --json | jq .verdict\n\n\
        The running gogeta is asked (--admin); with --routes or flags for etcd the routes are read from there, and \n\
        whether instances rest, and which engines there are, is not known.\n\n\
        Exit codes: 0 it would be sent on; 1 it would not; 2 wrong usage, or nobody can be asked."
    )]
    Explain(ExplainOptions),
    /// Show what a running gogeta does, and what is wrong, on one screen
    #[command(after_help = "Examples:\n  gogeta status\n  gogeta status --json | jq .traffic\n\n\
        Exit codes: 0 it is ready; 1 it is not; 2 wrong usage, or nobody can be asked.")]
    Status(StatusOptions),
    /// Watch a running gogeta: traffic, engines, services, instances, domains and what changes
    #[command(
        after_help = "Examples:\n  gogeta top\n  gogeta top --admin http://10.0.0.5:7778 --interval 5s\n\n\
        Press ? for the keys. It goes on when gogeta is back, and says meanwhile that it is away.\n\n\
        Exit codes: 0 at its end; 2 wrong usage, nobody can be asked at the start, or there is no terminal; 128 and\n\
        the signal that ended it."
    )]
    Top(TopOptions),
    /// Write a shell's completions to standard output
    #[command(after_help = "Examples:\n  gogeta completions bash > /etc/bash_completion.d/gogeta\n  \
        gogeta completions zsh > \"${fpath[1]}/_gogeta\"")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual: all pages into a directory, or the first one to standard output
    #[command(after_help = "Examples:\n  gogeta man | man -l -\n  gogeta man /usr/local/share/man/man1")]
    Man {
        /// The directory; it is made where it is not there
        directory: Option<PathBuf>,
    },
}

/// The flags of `gogeta demo`.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Where the proxy listens; another port is taken where this one is in use.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7777")]
    pub listen: SocketAddr,
    /// Where the admin page listens; another port is taken where this one is in use.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7778")]
    pub admin: SocketAddr,
}

/// Where etcd is and what of it is ours: the proxy's own flags, which go before the environment and the file.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "etcd")]
pub struct EtcdFlags {
    /// etcd's endpoints, comma-separated [env: GOGETA_ETCD_ADDRESS] [default: http://127.0.0.1:2379]
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub etcd_address: Option<Vec<String>>,
    /// The user to be for etcd [env: GOGETA_ETCD_USER]
    #[arg(long, value_name = "NAME")]
    pub etcd_user: Option<String>,
    /// That user's password; better given by the environment [env: GOGETA_ETCD_PASSWORD]
    #[arg(long, value_name = "TEXT")]
    pub etcd_password: Option<String>,
    /// The authority that signed etcd's certificate (PEM) [env: GOGETA_ETCD_CA]
    #[arg(long, value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,
    /// A certificate to show etcd (PEM) [env: GOGETA_ETCD_CERT]
    #[arg(long, value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,
    /// The key of that certificate (PEM) [env: GOGETA_ETCD_KEY]
    #[arg(long, value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,
    /// The directory of the domains in etcd [env: GOGETA_DOMAIN_DIR] [default: /domains]
    #[arg(long, value_name = "DIR")]
    pub domain_dir: Option<String>,
    /// The directory of the services in etcd [env: GOGETA_SERVICE_DIR] [default: /services]
    #[arg(long, value_name = "DIR")]
    pub service_dir: Option<String>,
}

impl EtcdFlags {
    /// These flags among the proxy's options.
    pub fn options(&self) -> Options {
        let Self {
            etcd_address,
            etcd_user,
            etcd_password,
            etcd_ca,
            etcd_cert,
            etcd_key,
            domain_dir,
            service_dir,
        } = self.clone();
        Options {
            etcd_address,
            etcd_user,
            etcd_password,
            etcd_ca,
            etcd_cert,
            etcd_key,
            domain_dir,
            service_dir,
            ..Options::default()
        }
    }
}

/// What most commands have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// JSON for programs, instead of text for people
    #[arg(long)]
    pub json: bool,
    /// Where etcd is.
    #[command(flatten)]
    pub etcd: EtcdFlags,
    /// Read options from this TOML file, as the proxy does [env: GOGETA_CONFIG]
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    pub config: Option<PathBuf>,
}

/// `gogeta route ..`
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Send a host's requests to a service, or to a fixed URI; type, value and config are written as one
    #[command(after_help = "Examples:\n  gogeta route set www.example.com service web\n  \
        gogeta route set '*.example.com' uri https://other.test/base\n  \
        gogeta route set shop.example.com service shop --config '{\"forceSsl\": true}'\n  \
        gogeta route set shop.example.com service shop --splice off\n\n\
        Exit codes: 0 written; 1 refused, or changed by somebody else; 2 wrong usage, or etcd cannot be used.")]
    Set(RouteSet),
    /// Remove a host's route
    #[command(
        after_help = "Example:\n  gogeta route rm www.example.com\n\nExit codes: 0 removed; 1 there was \
        none; 2 wrong usage, or etcd cannot be used."
    )]
    Rm(RouteRm),
    /// Show routes, where they lead, and why
    #[command(
        after_help = "Examples:\n  gogeta route ls\n  gogeta route ls www.example.com --json\n\nExit codes: 0 \
        shown; 1 no such host; 2 wrong usage, or etcd cannot be used."
    )]
    Ls(RouteLs),
}

/// What `--splice` of a domain or an instance can be: a mode, or nothing to remove it.
const SPLICE: [&str; 5] = ["auto", "wire", "sockmap", "off", ""];

/// `gogeta route set`
#[derive(Debug, Args)]
pub struct RouteSet {
    /// The host: a name, an address, or a wildcard such as *.example.com
    pub host: String,
    /// What it leads to
    #[arg(value_name = "TYPE", value_parser = ["service", "uri"])]
    pub kind: String,
    /// The service's name, or an absolute http or https URI
    pub value: String,
    /// The domain's options, as JSON; those that are there stay where this is not given, and '' removes them
    #[arg(long, value_name = "JSON")]
    pub config: Option<String>,
    /// Who carries its parked connections: auto, wire, sockmap, off; '' removes that. Its other options stay
    #[arg(long, value_name = "MODE", value_parser = SPLICE, hide_possible_values = true, conflicts_with = "config")]
    pub splice: Option<String>,
    /// Only where the host has no route yet
    #[arg(long)]
    pub create: bool,
    /// JSON for programs, instead of text for people
    #[arg(long)]
    pub json: bool,
    /// Where etcd is.
    #[command(flatten)]
    pub etcd: EtcdFlags,
}

/// `gogeta route rm`
#[derive(Debug, Args)]
pub struct RouteRm {
    /// The host
    pub host: String,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// `gogeta route ls`
#[derive(Debug, Args)]
pub struct RouteLs {
    /// This host only
    pub host: Option<String>,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// `gogeta service ..`
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Show services and their instances
    #[command(
        after_help = "Examples:\n  gogeta service ls\n  gogeta service ls web --json\n\nExit codes: 0 shown; 1 no \
        such service; 2 wrong usage, or etcd cannot be used."
    )]
    Ls(ServiceLs),
    /// Set an instance's location, status and options; all of it is written as one
    #[command(after_help = "Examples:\n  gogeta service set web 1 --location 10.0.0.5:8080\n  \
        gogeta service set web 2 --location '[::1]:80' --current started --expected started --alive 1 --weight 2\n\n\
        Exit codes: 0 written; 1 refused, or changed by somebody else; 2 wrong usage, or etcd cannot be used.")]
    Set(ServiceSet),
    /// Show the computed state of instances and why, or set what it is computed from
    #[command(
        after_help = "Examples:\n  gogeta service status web\n  gogeta service status web 1 --expected passivated\n\n\
        Exit codes: 0 shown or written; 1 no such instance; 2 wrong usage, or etcd cannot be used."
    )]
    Status(ServiceStatus),
    /// Remove an instance, or a service with all that it has
    #[command(
        after_help = "Examples:\n  gogeta service rm web 2\n  gogeta service rm web\n\nExit codes: 0 removed; 1 \
        there was none; 2 wrong usage, or etcd cannot be used."
    )]
    Rm(ServiceRm),
}

/// `gogeta service ls`
#[derive(Debug, Args)]
pub struct ServiceLs {
    /// This service only
    pub name: Option<String>,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// The status keys of an instance.
#[derive(Debug, Clone, Default, Args)]
pub struct StatusFlags {
    /// What it is doing: stopped, starting, started, stopping, passivated
    #[arg(long, value_name = "STATE", value_parser = ["stopped", "starting", "started", "stopping", "passivated"], hide_possible_values = true)]
    pub current: Option<String>,
    /// What it is meant to be doing: stopped, started, passivated
    #[arg(long, value_name = "STATE", value_parser = ["stopped", "started", "passivated"], hide_possible_values = true)]
    pub expected: Option<String>,
    /// Any text while its heart beats; '' for a dead one
    #[arg(long, value_name = "TEXT")]
    pub alive: Option<String>,
}

/// `gogeta service set`
#[derive(Debug, Args)]
pub struct ServiceSet {
    /// The service's name
    pub name: String,
    /// The instance's index: any text, a number usually
    pub index: String,
    /// Where it listens; an IPv6 address in brackets
    #[arg(long, value_name = "HOST:PORT")]
    pub location: Option<String>,
    /// Its status.
    #[command(flatten)]
    pub status: StatusFlags,
    /// Its share of the requests, 0 to 100
    #[arg(long, value_name = "N")]
    pub weight: Option<u8>,
    /// What /robots.txt is answered with
    #[arg(long, value_name = "TEXT")]
    pub robots: Option<String>,
    /// Who carries parked connections to it: auto, wire, sockmap, off; '' removes that
    #[arg(long, value_name = "MODE", value_parser = SPLICE, hide_possible_values = true)]
    pub splice: Option<String>,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// `gogeta service status`
#[derive(Debug, Args)]
pub struct ServiceStatus {
    /// The service's name
    pub name: String,
    /// The instance's index; all of them where it is left out
    pub index: Option<String>,
    /// Its status.
    #[command(flatten)]
    pub status: StatusFlags,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// `gogeta service rm`
#[derive(Debug, Args)]
pub struct ServiceRm {
    /// The service's name
    pub name: String,
    /// The instance's index; the whole service where it is left out
    pub index: Option<String>,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// `gogeta check`
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// Look at this routes file instead of etcd
    #[arg(long, value_name = "FILE")]
    pub routes: Option<PathBuf>,
    /// Warnings count as mistakes
    #[arg(long)]
    pub strict: bool,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// `gogeta export`
#[derive(Debug, Args)]
pub struct ExportOptions {
    /// Write to this file, in one step
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Keys under a lease, too
    #[arg(long)]
    pub leased: bool,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// `gogeta import`
#[derive(Debug, Args)]
pub struct ImportOptions {
    /// The routes file; - for standard input
    pub file: PathBuf,
    /// Remove what the file does not have: of gogeta's own keys, those without a lease
    #[arg(long)]
    pub prune: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// `gogeta register`
#[derive(Debug, Args)]
pub struct RegisterOptions {
    /// The service's name
    pub service: String,
    /// The instance's index: any text, a number usually
    pub index: String,
    /// Where it listens, as gogeta reaches it; an IPv6 address in brackets
    #[arg(long, value_name = "HOST:PORT")]
    pub location: String,
    /// The keys stay so long if this command dies without a word; it is kept alive three times as often
    #[arg(long, value_name = "TIME", default_value = "15s")]
    pub ttl: Seconds,
    /// A host to note beside it, for people; `gogeta route set` makes routes
    #[arg(long, value_name = "HOST")]
    pub domain: Option<String>,
    /// The command to start and register
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Where etcd is.
    #[command(flatten)]
    pub etcd: EtcdFlags,
    /// Read options from this TOML file, as the proxy does [env: GOGETA_CONFIG]
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    pub config: Option<PathBuf>,
}

/// `gogeta wait`
#[derive(Debug, Args)]
pub struct WaitOptions {
    /// The host to wait for
    #[arg(conflicts_with = "revision", requires = "state")]
    pub host: Option<String>,
    /// The state that it must have: started, starting, passivated, stopped, error, uri, or unknown for no route
    #[arg(value_parser = ["started", "starting", "passivated", "stopped", "error", "uri", "unknown"], hide_possible_values = true)]
    pub state: Option<String>,
    /// Wait until this revision of etcd is applied
    #[arg(long, value_name = "N")]
    pub revision: Option<i64>,
    /// By so many gogetas [default: all that are alive, and one at least]
    #[arg(long, value_name = "K")]
    pub count: Option<usize>,
    /// Wait so long
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub timeout: Seconds,
    /// Where gogetas publish what they have applied
    #[arg(long, value_name = "DIR", env = "GOGETA_PUBLISH_DIR", default_value = "/gogeta")]
    pub publish_dir: String,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}

/// `gogeta watch`
#[derive(Debug, Args)]
pub struct WatchOptions {
    /// Keys that begin with this [default: those of domains and services]
    pub prefix: Option<String>,
    /// What commands have in common.
    #[command(flatten)]
    pub common: Common,
}
