//! `kubectl penstock`: the same questions, to agents in a cluster. Their pods are found through the API
//! server, which leads to their health port as `kubectl port-forward` does: whoever asks needs to list
//! pods and to create `pods/portforward`, and nothing in the cluster is open to anybody else for it.

use std::{io, io::Write, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::{
    AskError, Certificates, Diagnostics, Endpoints, Explain, Look, Output, Question, Routes,
    Status, Tap,
    agent::{Agent, Door},
    screen::{Screen, Tone},
    text::plain,
};

/// What the chart labels its pods with.
const LABELS: &str = "app.kubernetes.io/part-of=penstock";
/// The agent's `--healthz-port`, unless the pod says otherwise.
const PORT: u16 = 10_254;

/// Questions to agents in a cluster.
#[derive(Args, Clone, Debug)]
pub struct Kubectl {
    /// What is asked.
    #[command(subcommand)]
    pub command: Command,
    /// Whom.
    #[command(flatten)]
    pub target: Target,
}

/// Which agents.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// The agents' namespace; default: wherever they are.
    #[arg(long, short = 'n', global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Which pods are agents.
    #[arg(long, short = 'l', global = true, value_name = "SELECTOR", default_value = LABELS)]
    pub selector: String,
    /// The agent on this node.
    #[arg(long, global = true, value_name = "NODE", conflicts_with_all = ["pod", "all"])]
    pub node: Option<String>,
    /// The agent in this pod.
    #[arg(long, global = true, value_name = "POD", conflicts_with = "all")]
    pub pod: Option<String>,
    /// All agents, one after the other; without it, one of those that are ready.
    #[arg(long, global = true)]
    pub all: bool,
    /// The agents' --healthz-port, where their pods do not say it.
    #[arg(long, global = true, value_name = "PORT")]
    pub port: Option<u16>,
    /// A kubeconfig, instead of $KUBECONFIG and ~/.kube/config.
    #[arg(long, global = true, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,
}

/// Questions that the health port answers.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show how an agent is.
    Status(With<Status>),
    /// List routes: what leads where, by which Ingress.
    Routes(With<Routes>),
    /// List the endpoints behind Services, and how they are.
    Endpoints(With<Endpoints>),
    /// List certificates, the one that ends first before the others.
    Certs(With<Certificates>),
    /// List what is not served as it is written.
    Diagnostics(With<Diagnostics>),
    /// Say what would become of a request, stage by stage, and why.
    Explain(With<Explain>),
    /// Show requests as they are answered.
    Tap(With<Tap>),
}

/// A question, and how its answer is shown.
#[derive(Args, Clone, Debug)]
pub struct With<Q: Args> {
    /// What is asked.
    #[command(flatten)]
    pub question: Q,
    /// How the answer is written.
    #[command(flatten)]
    pub look: Look,
}

/// The process as it is called by kubectl, which finds its plugins by their names.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-penstock",
    bin_name = "kubectl penstock",
    version,
    about = "Ask Penstock's agents in a cluster.",
    disable_help_subcommand = true
)]
pub struct Plugin {
    /// All of it.
    #[command(flatten)]
    pub kubectl: Kubectl,
}

impl Kubectl {
    /// Asks the agents. True: all is well with each (exit code 0, else 1).
    ///
    /// # Errors
    /// [`AskError`].
    pub fn run(&self, out: &mut dyn Write) -> Result<bool, AskError> {
        match &self.command {
            Command::Status(own) => self.asked(own, out),
            Command::Routes(own) => self.asked(own, out),
            Command::Endpoints(own) => self.asked(own, out),
            Command::Certs(own) => self.asked(own, out),
            Command::Diagnostics(own) => self.asked(own, out),
            Command::Explain(own) => self.asked(own, out),
            Command::Tap(own) if self.target.all => {
                let _unused = own;
                Err(AskError::Usage("tap shows one agent: --node or --pod, not --all".to_owned()))
            }
            Command::Tap(own) => self.asked(own, out),
        }
    }

    fn asked<Q: Args + Question>(
        &self,
        with: &With<Q>,
        out: &mut dyn Write,
    ) -> Result<bool, AskError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(AskError::broken)?;
        runtime.block_on(self.target.ask(&with.question, with.look, out))
    }
}

impl Target {
    async fn ask<Q: Question>(
        &self,
        question: &Q,
        look: Look,
        out: &mut dyn Write,
    ) -> Result<bool, AskError> {
        let client = self.client().await?;
        let pods = self.pods(&client).await?;
        if !self.all {
            let Some(pod) = pods.first() else { return Err(self.nobody()) };
            let mut agent = self.reach(&client, pod, look).await?;
            let mut screen = Screen::new(out, look.output, look.colors());
            return question.ask(&mut agent, &mut screen).await;
        }
        let mut well = true;
        let mut answers = Vec::new();
        for pod in &pods {
            let mut own = Vec::new();
            let asked = async {
                let mut agent = self.reach(&client, pod, look).await?;
                let mut screen = Screen::new(&mut own, look.output, look.colors());
                question.ask(&mut agent, &mut screen).await
            };
            let outcome = asked.await;
            well &= matches!(outcome, Ok(true));
            let (name, node) = (pod.name_any(), node_of(pod).to_owned());
            let error = outcome.err().map(|error| format!("{:#}", anyhow::Error::from(error)));
            if look.output == Output::Json {
                let answer: Value = serde_json::from_slice(&own).unwrap_or_default();
                answers
                    .push(json!({ "pod": name, "node": node, "answer": answer, "error": error }));
                continue;
            }
            let mut screen = Screen::new(out, look.output, look.colors());
            let heading = plain(&format!("{name} on {node}"));
            screen.line(&screen.toned(Tone::Strong, &heading))?;
            if let Some(error) = error {
                screen.line(&screen.toned(Tone::Bad, &plain(&error)))?;
            }
            out.write_all(&own).and_then(|()| out.write_all(b"\n")).map_err(AskError::Output)?;
        }
        if look.output == Output::Json {
            Screen::new(out, look.output, false).json(&Value::Array(answers))?;
        }
        Ok(well)
    }

    async fn client(&self) -> Result<Client, AskError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        let config = match &self.kubeconfig {
            Some(path) => {
                let read = Kubeconfig::read_from(path).map_err(cannot)?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(cannot)?
            }
            None if self.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(cannot)?
            }
            None => Config::infer().await.map_err(cannot)?,
        };
        Client::try_from(config).map_err(cannot)
    }

    /// The agents that are meant; those that are ready come first.
    async fn pods(&self, client: &Client) -> Result<Vec<Pod>, AskError> {
        let api: Api<Pod> = match &self.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let fields = self.node.iter().map(|node| format!("spec.nodeName={node}"));
        let names = self.pod.iter().map(|pod| format!("metadata.name={pod}"));
        let fields: Vec<_> =
            fields.chain(names).chain(["status.phase=Running".to_owned()]).collect();
        let wanted = ListParams::default().labels(&self.selector).fields(&fields.join(","));
        let mut pods = api.list(&wanted).await.map_err(cannot)?.items;
        // The chart's other pods, such as a default backend, are no agents.
        pods.retain(|pod| container(pod).is_some());
        pods.sort_by_key(|pod| (!is_ready(pod), pod.name_any()));
        if pods.is_empty() { Err(self.nobody()) } else { Ok(pods) }
    }

    fn nobody(&self) -> AskError {
        let mut what = format!("no running pod has the labels {}", plain(&self.selector));
        for (name, value) in
            [("namespace", &self.namespace), ("node", &self.node), ("pod", &self.pod)]
        {
            if let Some(value) = value {
                what.push_str(&format!(", {name} {}", plain(value)));
            }
        }
        AskError::Denied(what)
    }

    async fn reach(&self, client: &Client, pod: &Pod, look: Look) -> Result<Agent, AskError> {
        let name = pod.name_any();
        let door = Door::Elsewhere(format!("pod {name} on {}", node_of(pod)));
        let port = self.port.unwrap_or_else(|| port_of(pod));
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let mut forwarder = api.portforward(&name, &[port]).await.map_err(cannot)?;
        let stream = forwarder.take_stream(port);
        let stream = stream.ok_or_else(|| door.unreachable(io::ErrorKind::NotConnected.into()))?;
        // It goes on for as long as its stream is used.
        tokio::spawn(async move {
            let _broken_off = forwarder.join().await;
        });
        Agent::over(&door, stream, format!("localhost:{port}"), look.patience()).await
    }
}

fn cannot(error: impl std::error::Error + Send + Sync + 'static) -> AskError {
    AskError::Denied(plain(&format!("{:#}", anyhow::Error::from(error))))
}

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// The agent's container: the one that runs it.
fn container(pod: &Pod) -> Option<&Container> {
    let containers = &pod.spec.as_ref()?.containers;
    containers.iter().find(|own| own.args.iter().flatten().any(|argument| argument == "run"))
}

/// What `--healthz-port` says.
fn port_of(pod: &Pod) -> u16 {
    let arguments = container(pod).and_then(|own| own.args.as_ref());
    let said = arguments.into_iter().flatten().find_map(|argument| {
        argument.trim_start_matches('-').strip_prefix("healthz-port=")?.parse().ok()
    });
    said.unwrap_or(PORT)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|own| own.type_ == "Ready" && own.status == "True")
}
