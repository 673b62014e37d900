//! The arguments of the process, read by clap, with Go's flag style and all faults at once.

use std::{
    ffi::OsString,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::{
    CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Config, RunFlags, flags, ignored};
use crate::{console, l4};

/// Kubernetes ingress data plane with an XDP front.
#[derive(Debug, Parser)]
#[command(name = "penstock", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Ingresses of a cluster, or of a directory of manifests.
    Run(Box<RunFlags>),
    Check(crate::check::Command),
    #[command(flatten)]
    Ask(console::Command),
    /// The same questions to agents in a cluster; also as `kubectl penstock`.
    Kubectl(console::Kubectl),
    /// Print what completes the arguments in a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages, one for each command, into a directory.
    Man {
        /// Which directory; it is made if need be.
        directory: PathBuf,
    },
    /// Print what is known of every annotation, as docs/annotations.md.
    Annotations,
    /// Work on the kernel tier by hand, without an agent.
    #[command(subcommand)]
    L4(l4::command::Command),
    /// Show what the kernel tier does, live.
    Top(l4::Top),
}

/// What the process is asked to do.
#[derive(Debug)]
pub enum Invocation {
    /// `penstock run`.
    Run(Box<Config>),
    /// `penstock check`.
    Check(crate::check::Command),
    /// A question to a running agent.
    Ask(Box<console::Command>),
    /// `penstock kubectl`.
    Kubectl(Box<console::Kubectl>),
    /// `penstock man`: these files, with their texts, into this directory.
    Man(PathBuf, Vec<(String, Vec<u8>)>),
    /// `penstock l4`.
    L4(l4::command::Command),
}

/// The outcome of reading the arguments.
#[derive(Debug)]
pub enum Parsed {
    /// Do this.
    Go(Invocation),
    /// Print this on standard output and exit 0: help or version.
    Print(String),
    /// The arguments are wrong: all faults, one per line, for standard error. Exit code 2.
    Faults(String),
}

/// Reads the arguments; `cores` is the default of `--workers`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>, cores: usize) -> Parsed {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if is_plugin(&arguments) {
        return plugin(&arguments);
    }
    let name = arguments.get(1).and_then(|own| own.to_str()).unwrap_or_default().to_owned();
    if name == "explain" && arguments.iter().any(is_flow) {
        // A packet's: the same without an agent.
        arguments.insert(1, "l4".into());
    }
    // Those of the other commands may be short, and have values of their own at once.
    if matches!(name.as_str(), "run" | "check") {
        arguments = arguments.into_iter().map(double_dash).collect();
    }
    let command = whole();
    let mut faults = Vec::new();
    let matches = loop {
        match command.clone().try_get_matches_from(&arguments) {
            Ok(matches) => break matches,
            Err(error)
                if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
            {
                return Parsed::Print(error.render().to_string());
            }
            // clap stops at the first flag it does not know; without it, it finds the next fault.
            Err(error) if error.kind() == ErrorKind::UnknownArgument => {
                faults.push(unknown(&error, &name));
                if !remove(&mut arguments, &error) {
                    return Parsed::Faults(listed(&faults));
                }
            }
            Err(error) => {
                let text = error.render().to_string();
                faults.push(text.trim_start_matches("error: ").trim_end().to_owned());
                return Parsed::Faults(listed(&faults));
            }
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            faults.push(error.to_string());
            return Parsed::Faults(listed(&faults));
        }
    };
    match cli.command {
        Command::L4(_)
        | Command::Check(_)
        | Command::Ask(_)
        | Command::Kubectl(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Top(_)
            if !faults.is_empty() =>
        {
            Parsed::Faults(listed(&faults))
        }
        Command::Annotations => Parsed::Print(crate::translate::annotations_document()),
        Command::Check(command) => Parsed::Go(Invocation::Check(command)),
        Command::Ask(command) => Parsed::Go(Invocation::Ask(Box::new(command))),
        Command::Kubectl(command) => Parsed::Go(Invocation::Kubectl(Box::new(command))),
        Command::Completions { shell } => Parsed::Print(completions(shell)),
        Command::Man { directory } => Parsed::Go(Invocation::Man(directory, pages())),
        Command::L4(command) => Parsed::Go(Invocation::L4(command)),
        Command::Top(top) => Parsed::Go(Invocation::L4(l4::command::Command::Top(top))),
        Command::Run(mut flags) => {
            if let Some((_, run)) = matches.subcommand() {
                flags.ignored = ignored::FLAGS
                    .iter()
                    .filter(|(name, _)| run.value_source(name).is_some())
                    .map(|(name, _)| (*name).to_owned())
                    .collect();
            }
            if let Some((_, run)) = matches.subcommand() {
                flags.writes.note_given(run);
            }
            let outcome = flags.validate(cores);
            match (outcome, faults.is_empty()) {
                (Ok(config), true) => Parsed::Go(Invocation::Run(Box::new(config))),
                (Ok(_), false) => Parsed::Faults(listed(&faults)),
                (Err(mut wrong), _) => {
                    faults.append(&mut wrong);
                    Parsed::Faults(listed(&faults))
                }
            }
        }
    }
}

/// All commands.
fn whole() -> clap::Command {
    Cli::command().mut_subcommand("run", flags::with_ignored)
}

/// The process was called as kubectl calls its plugins.
fn is_plugin(arguments: &[OsString]) -> bool {
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    name.is_some_and(|name| name == "kubectl-penstock")
}

fn plugin(arguments: &[OsString]) -> Parsed {
    match console::Plugin::try_parse_from(arguments) {
        Ok(plugin) => Parsed::Go(Invocation::Kubectl(Box::new(plugin.kubectl))),
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            Parsed::Print(error.render().to_string())
        }
        Err(error) => Parsed::Faults(console::plain_lines(&error.render().to_string())),
    }
}

fn is_flow(argument: &OsString) -> bool {
    argument.to_str().is_some_and(|text| text == "--flow" || text.starts_with("--flow="))
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole(), "penstock", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The pages of the manual, by their files' names.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut pages = Vec::new();
    let mut plugin = console::Plugin::command().name("kubectl-penstock");
    plugin.build();
    let mut all = whole();
    all.build();
    for command in [all, plugin] {
        page(command, &mut pages);
    }
    pages
}

fn page(command: clap::Command, pages: &mut Vec<(String, Vec<u8>)>) {
    if command.is_hide_set() {
        return;
    }
    for own in command.get_subcommands() {
        page(own.clone(), pages);
    }
    let page = clap_mangen::Man::new(command);
    let mut text = Vec::new();
    if page.render(&mut text).is_ok() {
        pages.push((page.get_filename(), text));
    }
}

/// Go's flag style: `-http-port=80` is `--http-port=80`, and `-v=2` is `--v=2`.
fn double_dash(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text)
            if text.len() > 2
                && text.starts_with('-')
                && text[1..].starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            format!("-{text}").into()
        }
        _ => argument,
    }
}

/// `command`: the subcommand that it was given to.
fn unknown(error: &clap::Error, command: &str) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let name = context(ContextKind::InvalidArg).unwrap_or_default();
    match context(ContextKind::SuggestedArg) {
        Some(known) => format!("unknown flag {name}; did you mean {known}?"),
        None => format!("unknown flag {name}; `penstock {command} --help` lists them"),
    }
}

/// Takes the argument that clap complained about out of the list; false if it is not found.
fn remove(arguments: &mut Vec<OsString>, error: &clap::Error) -> bool {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg) else {
        return false;
    };
    let is_it = |argument: &OsString| {
        argument.to_str().is_some_and(|text| {
            text.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    };
    let Some(place) = arguments.iter().skip(1).position(is_it) else { return false };
    let place = place + 1;
    let holds_value = arguments[place].to_str().is_some_and(|text| text.contains('='));
    arguments.remove(place);
    // `--unknown value`: what follows belongs to it, unless it is a flag or the subcommand itself.
    if !holds_value
        && place > 1
        && arguments
            .get(place)
            .and_then(|next| next.to_str())
            .is_some_and(|next| !next.starts_with('-') && next != "run")
    {
        arguments.remove(place);
    }
    true
}

/// `penstock: a` or, for several, a list.
fn listed(faults: &[String]) -> String {
    match faults {
        [one] => console::plain_lines(&format!("penstock: {one}\n")),
        _ => {
            let mut text = format!("penstock: {} faults in the arguments:\n", faults.len());
            for fault in faults {
                let _infallible = writeln!(text, "  {fault}");
            }
            console::plain_lines(&text)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use super::{super::Source, *};
    use crate::kubernetes::Access;

    fn parsed(arguments: &str) -> Parsed {
        parse(["penstock"].into_iter().chain(arguments.split_whitespace()).map(Into::into), 3)
    }

    fn config(arguments: &str) -> Config {
        match parsed(arguments) {
            Parsed::Go(Invocation::Run(config)) => *config,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    fn faults(arguments: &str) -> String {
        match parsed(arguments) {
            Parsed::Faults(text) => text,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_ingress_nginx_but_for_the_class() {
        let config = config("run --manifests d");
        assert_eq!((config.listen.http_port, config.listen.https_port), (80, 443));
        assert_eq!((config.admin.port, config.admin.health_path.as_str()), (10254, "/healthz"));
        // Rules that are the same are told by address.
        let firewall = config.translate.firewall.clone();
        let defaults = crate::translate::Options { firewall, ..Default::default() };
        assert_eq!(config.translate, defaults);
        assert_eq!(config.workers, 3);
        assert_eq!(config.metrics, super::super::Metrics::default());
        assert_eq!(config.l4.mode, super::super::L4Mode::Auto);
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn the_arguments_of_an_ingress_nginx_pod_are_understood() {
        let config = config(
            "run --manifests=d --publish-service=$(POD_NAMESPACE)/ingress-nginx-controller \
             --election-id=ingress-nginx-leader --controller-class=k8s.io/ingress-nginx \
             --ingress-class=nginx --configmap=ingress-nginx/controller \
             --validating-webhook=:8443 --validating-webhook-certificate /certs/cert \
             --validating-webhook-key /certs/key \
             --enable-metrics=false -v=2 --watch-ingress-without-class=true -http-port=8080 \
             --ingress-class-by-name --default-backend-service web/fallback \
             --shutdown-grace-period=5",
        );
        assert_eq!(config.translate.controller_class, "k8s.io/ingress-nginx");
        assert_eq!(config.translate.ingress_class, "nginx");
        assert_eq!(
            config.translate.configmap,
            Some(("ingress-nginx".to_owned(), "controller".to_owned()))
        );
        assert_eq!(
            config.translate.default_backend_service,
            Some(("web".to_owned(), "fallback".to_owned()))
        );
        assert!(config.translate.watch_ingress_without_class);
        assert!(config.translate.ingress_class_by_name);
        assert_eq!(config.listen.http_port, 8080);
        assert_eq!(config.shutdown.grace, Duration::from_secs(5));
        assert_eq!(config.warnings.len(), 6);
        assert!(!config.metrics.enabled);
        assert!(config.warnings.iter().any(|line| line.contains("--election-id")));
    }

    #[test]
    fn addresses_are_repeatable_and_comma_separated() {
        let config =
            config("run --manifests d --bind-address 127.0.0.1,::1 --bind-address=10.0.0.1");
        let want: [IpAddr; 3] =
            ["127.0.0.1", "::1", "10.0.0.1"].map(|text| text.parse().expect("a literal address"));
        assert_eq!(config.listen.addresses, want);
    }

    #[test]
    fn an_unknown_flag_comes_with_a_suggestion() {
        let text = faults("run --manifests d --http-prot 81");
        assert!(text.contains("--http-prot") && text.contains("--http-port"), "{text}");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text = faults(
            "run --manifests d --kubeconfig k --nonsense --bogus=1 --http-port http --https-port 70000 --workers 0 \
             --bind-address nowhere --configmap noslash --l4 maybe --disable-catch-all=perhaps \
             --watch-namespace-selector=a=b=c",
        );
        for part in [
            "--nonsense",
            "--bogus",
            "--http-port",
            "--https-port",
            "--workers",
            "--bind-address",
            "--configmap",
            "--l4",
            "--disable-catch-all",
            "--kubeconfig",
            "--watch-namespace-selector",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
    }

    #[test]
    fn without_a_directory_the_cluster_is_served() {
        let Source::Cluster(access) = config("run").source else { panic!("a directory") };
        assert_eq!(access, Access { in_pod: true, ..Access::default() });
        let access = config(
            "run --kubeconfig=/k --context there --apiserver-host=https://10.0.0.1:6443 \
             --certificate-authority=/ca",
        );
        let Source::Cluster(access) = access.source else { panic!("a directory") };
        assert_eq!(access.kubeconfig, Some("/k".into()));
        assert_eq!(access.context.as_deref(), Some("there"));
        assert_eq!(access.server.as_deref(), Some("https://10.0.0.1:6443"));
        assert_eq!(access.authority, Some("/ca".into()));
    }

    #[test]
    fn where_the_api_server_is_must_be_clear() {
        for (arguments, part) in [
            ("run --apiserver-host 10.0.0.1", "https://"),
            ("run --apiserver-host ftp://a", "https://"),
            ("run --certificate-authority /ca", "without --apiserver-host"),
            ("run --manifests d --context c", "give one of the two"),
            ("run --watch-namespace a --watch-namespace-selector b", "together"),
        ] {
            let text = faults(arguments);
            assert!(text.contains(part), "{arguments}: {text}");
        }
    }

    #[test]
    fn a_vip_without_node_name_is_a_fault() {
        let text = faults("run --manifests d --vip 192.0.2.1 --node-name= --interface eth0");
        assert!(text.contains("--node-name"), "{text}");
    }

    /// Section 9.2 of the reference, copied by hand; with a value for those that take one.
    const REFERENCE: &[&str] = &[
        "--controller-class=k8s.io/ingress-nginx",
        "--ingress-class=nginx",
        "--ingress-class-by-name",
        "--watch-ingress-without-class",
        "--watch-namespace=web",
        "--watch-namespace-selector=a=b",
        "--configmap=a/b",
        "--tcp-services-configmap=a/b",
        "--udp-services-configmap=a/b",
        "--default-ssl-certificate=a/b",
        "--default-backend-service=a/b",
        "--publish-service=a/b",
        "--publish-status-address=192.0.2.1",
        "--report-node-internal-ip-address",
        "--update-status",
        "--update-status-on-shutdown",
        "--status-update-interval=60",
        "--election-id=a",
        "--election-ttl=30s",
        "--disable-leader-election",
        "--enable-ssl-passthrough",
        "--ssl-passthrough-proxy-port=442",
        "--http-port=80",
        "--https-port=443",
        "--healthz-port=10254",
        "--default-server-port=8181",
        "--status-port=10246",
        "--stream-port=10247",
        "--profiler-port=10245",
        "--health-check-path=/healthz",
        "--enable-metrics",
        "--metrics-per-host",
        "--metrics-per-undefined-host",
        "--report-status-classes",
        "--validating-webhook=:8443",
        "--validating-webhook-certificate=/a",
        "--validating-webhook-key=/a",
        "--disable-catch-all",
        "--deep-inspect",
        "--enable-annotation-validation",
        "--disable-svc-external-name",
        "--disable-sync-events",
        "--enable-ssl-chain-completion",
        "--enable-topology-aware-routing",
        "--sync-rate-limit=0.3",
        "--shutdown-grace-period=0",
        "--post-shutdown-grace-period=10",
    ];

    #[test]
    fn every_flag_of_ingress_nginx_is_known() {
        for flag in REFERENCE {
            match parsed(&format!("run --manifests=d {flag}")) {
                Parsed::Go(Invocation::Run(config)) => {
                    let name = flag.split('=').next().unwrap_or_default();
                    let of_it = config.warnings.iter().filter(|line| line.contains(name));
                    assert!(of_it.count() <= 1 && config.warnings.len() <= 1, "{flag}");
                }
                // What is missing or wrong about it is said, but it is known.
                Parsed::Faults(text) => assert!(!text.contains("unknown flag"), "{flag}: {text}"),
                other => panic!("{flag}: {other:?}"),
            }
        }
    }

    #[test]
    fn help_goes_to_standard_output() {
        assert!(
            matches!(parsed("run --help"), Parsed::Print(text) if text.contains("--http-port"))
        );
        assert!(matches!(parsed("--version"), Parsed::Print(_)));
    }

    #[test]
    fn what_looks_into_the_kernel_tier_is_there_by_its_own_name() {
        let parsed = |line: &str| parse(line.split(' ').map(OsString::from).collect::<Vec<_>>(), 1);
        for line in [
            "penstock explain --flow 192.0.2.1:4000-203.0.113.1:80 --ack --output json",
            "penstock top --once --output json",
            "penstock l4 top --interval 5",
            "penstock l4 events --count 1",
            "penstock l4 capture -w - --vip 203.0.113.1:80 --reason forwarded",
        ] {
            assert!(matches!(parsed(line), Parsed::Go(Invocation::L4(_))), "{line}");
        }
        for line in [
            "penstock explain --flow nonsense",
            "penstock explain --flow 192.0.2.1:1-203.0.113.1:80 --ack --udp",
            "penstock top --output xml",
            "penstock top --interval 0",
        ] {
            assert!(matches!(parsed(line), Parsed::Faults(_)), "{line}");
        }
    }
}
