//! Chromium without a window, told what to do by the DevTools protocol over a pair of pipes.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::process::{DEADLINE, Process, until, which};

/// A browser with one page open. Killed on drop.
pub(crate) struct Browser {
    process: Process,
    requests: File,
    answers: mpsc::Receiver<Value>,
    number: u64,
    session: Option<String>,
    /// Errors of scripts, and what the policy kept from happening.
    faults: Vec<String>,
    /// Requests whose URL ends so are answered with this.
    fixtures: Vec<(&'static str, Value)>,
}

impl Browser {
    /// Starts it; `None`: it is not installed.
    pub(crate) fn start(directory: &Path) -> Option<Self> {
        let chromium = which("chromium")?;
        let [requests, answers] = ["requests", "answers"].map(|name| directory.join(name));
        let made = Command::new("mkfifo").args([&requests, &answers]).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo");
        // Opened for both directions: neither side waits for the other.
        let open = |path| File::options().read(true).write(true).open(path).expect("a pipe");
        let (to, from) = (open(&requests), open(&answers));
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg("requests=$1 answers=$2; shift 2; exec \"$@\" 3<\"$requests\" 4>\"$answers\"")
            .arg("sh")
            .args([&requests, &answers])
            .arg(chromium)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-extensions", "--no-proxy-server"])
            .args(["--remote-debugging-pipe", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", directory.join("browser").display()))
            .arg("about:blank");
        let process = Process::start(&command);
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let mut messages = BufReader::new(from).split(0);
            while let Some(Ok(message)) = messages.next() {
                let value = serde_json::from_slice(&message).expect("it is JSON");
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            process,
            requests: to,
            answers,
            number: 0,
            session: None,
            faults: Vec::new(),
            fixtures: Vec::new(),
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach)["sessionId"].clone();
        browser.session = session.as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// The result of a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        let number = self.send(method, parameters);
        loop {
            let Some(message) = self.receive(DEADLINE) else { unreachable!("{method}: no answer") };
            if message["id"] == number {
                let error = &message["error"];
                assert!(error.is_null(), "{method}: {error}");
                return message["result"].clone();
            }
        }
    }

    fn send(&mut self, method: &str, parameters: Value) -> u64 {
        assert!(self.process.runs(), "the browser has ended");
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.requests.write_all(&text).expect("it reads");
        self.number
    }

    /// The next message; what it says of faults and of requests is noted.
    fn receive(&mut self, limit: Duration) -> Option<Value> {
        let message = self.answers.recv_timeout(limit).ok()?;
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.faults.push(parameters["exceptionDetails"].to_string());
            }
            // What the network says when the agent has gone is no fault of the page.
            Some("Log.entryAdded")
                if parameters["entry"]["level"] == "error"
                    && parameters["entry"]["source"] != "network" =>
            {
                self.faults.push(parameters["entry"].to_string());
            }
            Some("Fetch.requestPaused") => {
                let (id, url) =
                    (parameters["requestId"].clone(), parameters["request"]["url"].clone());
                self.fulfil(&id, url.as_str().unwrap_or_default());
            }
            _ => {}
        }
        Some(message)
    }

    fn fulfil(&mut self, id: &Value, url: &str) {
        let fixture = self.fixtures.iter().find(|(end, _)| url.ends_with(end));
        match fixture.map(|(_, value)| BASE64.encode(value.to_string().as_bytes())) {
            Some(body) => self.send(
                "Fetch.fulfillRequest",
                json!({
                    "requestId": id,
                    "responseCode": 200,
                    "responseHeaders": [{ "name": "content-type", "value": "application/json" }],
                    "body": body,
                }),
            ),
            None => self.send("Fetch.continueRequest", json!({ "requestId": id })),
        };
    }

    /// From now on requests whose URL ends so are answered with this instead of by the agent.
    pub(crate) fn answer(&mut self, end: &'static str, value: Value) {
        self.fixtures.push((end, value));
        let patterns = json!({ "patterns": [{ "urlPattern": format!("*{end}") }] });
        self.call("Fetch.enable", patterns);
    }

    /// Opens a URL.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.until("document.readyState === 'complete'");
    }

    /// The value of an expression.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", parameters);
        let error = &result["exceptionDetails"];
        assert!(error.is_null(), "{expression}: {error}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let expression = format!("Boolean({expression})");
        until(&expression, || self.value(&expression) == true);
    }

    /// Looks at the page as on a screen of this size.
    pub(crate) fn size(&mut self, width: u32, height: u32, is_phone: bool) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What the system says that it prefers: `light` or `dark`.
    pub(crate) fn prefers(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Presses a key that writes nothing.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowLeft" => 37,
            other => unreachable!("{other}: which number?"),
        };
        for kind in ["rawKeyDown", "char", "keyUp"] {
            if kind == "char" && key != "Enter" {
                continue;
            }
            let mut event = json!({
                "type": kind, "key": key, "code": key,
                "windowsVirtualKeyCode": code, "nativeVirtualKeyCode": code,
            });
            if kind == "char" {
                event["text"] = json!("\r");
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Writes text where the focus is.
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// A picture of what is seen, as WebP.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let wanted = json!({ "format": "webp", "quality": 85, "optimizeForSpeed": false });
        let data = self.call("Page.captureScreenshot", wanted)["data"].clone();
        BASE64.decode(data.as_str().unwrap_or_default().as_bytes()).expect("it is base64")
    }

    /// Nothing went wrong in the page so far.
    pub(crate) fn is_sound(&self) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
    }
}
