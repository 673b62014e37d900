use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Directory, SourceError, Stopper, Update, files::Files};

/// Longer than anything takes on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(20);

/// A directory that is watched, and what came of it.
struct Watched {
    directory: tempfile::TempDir,
    updates: mpsc::Receiver<Update>,
    latest: Update,
    stopper: Stopper,
    run: Option<JoinHandle<()>>,
}

impl Watched {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let path = directory.path().to_owned();
        Self::at(directory, &path)
    }

    fn at(directory: tempfile::TempDir, path: &Path) -> Self {
        let source = Directory::open(path).unwrap();
        let stopper = source.stopper();
        let (sender, updates) = mpsc::channel();
        let run = std::thread::spawn(move || source.run(move |update| drop(sender.send(update))));
        let latest = updates.recv_timeout(DEADLINE).expect("the first state comes at once");
        Self { directory, updates, latest, stopper, run: Some(run) }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Awaits a state; returns how long that took.
    fn until(&mut self, what: &str, is_so: impl Fn(&Update) -> bool) -> Duration {
        let start = Instant::now();
        while !is_so(&self.latest) {
            let left = DEADLINE.checked_sub(start.elapsed()).expect(what);
            self.latest = self.updates.recv_timeout(left).unwrap_or_else(|_| {
                panic!("never {what}: {} {:?}", names(&self.latest), self.latest.diagnostics)
            });
        }
        start.elapsed()
    }

    fn until_services(&mut self, expected: &str) -> Duration {
        self.until(expected, |update| names(update) == expected)
    }

    fn until_diagnostic(&mut self, text: &str) {
        self.until(text, |update| said(update).contains(text));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stopper.stop();
        let ended = self.run.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n---\n"
    )
}

/// `a:80 b:81`: the Services and their ports.
fn names(update: &Update) -> String {
    let port = |service: &k8s_openapi::api::core::v1::Service| {
        service.spec.as_ref()?.ports.as_ref()?.first().map(|port| port.port)
    };
    let services = update.stores.services.iter();
    let names =
        services.map(|(key, service)| format!("{}:{}", key.name, port(service).unwrap_or(0)));
    names.collect::<Vec<_>>().join(" ")
}

fn said(update: &Update) -> String {
    update.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

#[test]
fn the_first_state_is_complete() {
    let mut watched = Watched::new(|path| {
        fs::create_dir_all(path.join("below/deep")).unwrap();
        fs::create_dir(path.join(".git")).unwrap();
        fs::write(path.join("a.yaml"), service("a", 1) + &service("b", 2)).unwrap();
        fs::write(path.join("below/deep/c.yml"), service("c", 3)).unwrap();
        fs::write(
            path.join("d.json"),
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"d"}}"#,
        )
        .unwrap();
        fs::write(path.join(".hidden.yaml"), service("hidden", 1)).unwrap();
        fs::write(path.join(".git/x.yaml"), service("git", 1)).unwrap();
        fs::write(path.join("notes.txt"), service("text", 1)).unwrap();
    });
    watched.until_services("a:1 b:2 c:3 d:0");
    assert_eq!(said(&watched.latest), "");
}

#[test]
fn one_file_can_be_the_source() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("all");
    fs::write(&path, service("a", 1)).unwrap();
    let mut watched = Watched::at(directory, &path);
    watched.until_services("a:1");
    watched.write("beside.yaml", &service("b", 1));
    watched.write("all", &service("a", 2));
    watched.until_services("a:2");
}

#[test]
fn what_cannot_be_read_at_the_start_is_an_error() {
    let error =
        Directory::open(Path::new("/nonexistent/manifests")).err().expect("it is not there");
    assert!(matches!(error, SourceError::Unreadable { .. }));
    assert_eq!(error.to_string(), "cannot read the manifests in /nonexistent/manifests");
    let error = Directory::open(Path::new("/dev/null")).err().expect("it is a device");
    assert!(matches!(error, SourceError::Unreadable { .. }));
}

#[test]
fn files_come_change_and_go() {
    let mut watched = Watched::new(|_| {});
    watched.until_services("");
    watched.write("a.yaml", &service("a", 1));
    watched.until_services("a:1");
    watched.write("a.yaml", &service("a", 2));
    watched.until_services("a:2");
    watched.write("b.yaml", &service("b", 1));
    watched.until_services("a:2 b:1");
    fs::remove_file(watched.path("a.yaml")).unwrap();
    watched.until_services("b:1");
    fs::rename(watched.path("b.yaml"), watched.path("c.yaml")).unwrap();
    watched.write("d.yaml", &service("d", 1));
    watched.until_services("b:1 d:1");
    // A document less is an object less.
    watched.write("d.yaml", &(service("d", 1) + &service("e", 1)));
    watched.until_services("b:1 d:1 e:1");
    watched.write("d.yaml", &service("e", 1));
    watched.until_services("b:1 e:1");
}

#[test]
fn new_directories_are_watched_whenever_they_come() {
    let mut watched = Watched::new(|_| {});
    fs::create_dir_all(watched.path("x/y")).unwrap();
    watched.write("x/y/a.yaml", &service("a", 1));
    watched.until_services("a:1");
    watched.write("x/y/a.yaml", &service("a", 2));
    watched.until_services("a:2");
    fs::rename(watched.path("x"), watched.path("z")).unwrap();
    watched.write("z/y/b.yaml", &service("b", 1));
    watched.until_services("a:2 b:1");
    fs::remove_dir_all(watched.path("z")).unwrap();
    watched.until_services("");
}

#[test]
fn a_file_that_breaks_keeps_the_last_good_state() {
    let mut watched = Watched::new(|path| {
        fs::write(path.join("a.yaml"), service("a", 1) + &service("b", 1) + &service("c", 1))
            .unwrap();
    });
    // One document is no YAML: which object it was cannot be said, so all stay that are not there.
    watched.write("a.yaml", &(service("a", 2) + "kind: [Service\n---\n" + &service("c", 2)));
    watched.until_services("a:2 b:1 c:2");
    watched.until_diagnostic("a.yaml: line 9, column 7");
    // One document has a wrong type: it keeps its object, the one left out goes.
    watched.write("a.yaml", &(service("a", 3) + &service("b", 3).replace(": 3", ": http")));
    watched.until_services("a:3 b:1");
    watched.until_diagnostic("Service default/b: spec.ports[0].port:");
    watched.until_diagnostic("a.yaml:15:11: is text");
    // Nothing can be read at all.
    fs::write(watched.path("a.yaml"), b"\xff\xfe\xfd").unwrap();
    watched.until_diagnostic("is no UTF-8");
    assert_eq!(names(&watched.latest), "a:3 b:1");
    watched.write("a.yaml", "");
    watched.until_diagnostic("is empty");
    assert_eq!(names(&watched.latest), "a:3 b:1");
    // And all is well again.
    watched.write("a.yaml", &service("b", 4));
    watched.until_services("b:4");
    assert_eq!(said(&watched.latest), "");
}

#[test]
fn a_broken_file_leaves_other_files_alone() {
    let mut watched = Watched::new(|path| {
        fs::write(path.join("a.yaml"), "a: [").unwrap();
        fs::write(path.join("b.yaml"), service("b", 1)).unwrap();
    });
    watched.until_services("b:1");
    watched.until_diagnostic("a.yaml: line");
    watched.write("b.yaml", &service("b", 2));
    watched.until_services("b:2");
    watched.until_diagnostic("a.yaml: line");
}

#[test]
fn renaming_over_a_file_is_a_change_of_it() {
    let mut watched = Watched::new(|path| fs::write(path.join("a.yaml"), service("a", 1)).unwrap());
    for port in 2..20 {
        watched.write(".a.yaml.tmp", &service("a", port));
        fs::rename(watched.path(".a.yaml.tmp"), watched.path("a.yaml")).unwrap();
        watched.until_services(&format!("a:{port}"));
    }
    // Via a backup, as editors do that save in place of the old file.
    fs::rename(watched.path("a.yaml"), watched.path("a.yaml~")).unwrap();
    watched.write("a.yaml", &service("a", 30));
    watched.until_services("a:30");
}

/// As the kubelet updates the mount of a ConfigMap.
#[test]
fn swapping_the_data_link_of_a_mounted_config_map_is_a_change() {
    let version = |path: &Path, number: u16| {
        let name = format!("..2026_{number}");
        fs::create_dir(path.join(&name)).unwrap();
        fs::write(path.join(&name).join("a.yaml"), service("a", number)).unwrap();
        symlink(&name, path.join("..data_tmp")).unwrap();
        fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    };
    let mut watched = Watched::new(|path| {
        version(path, 1);
        symlink("..data/a.yaml", path.join("a.yaml")).unwrap();
    });
    watched.until_services("a:1");
    for number in 2..10 {
        version(watched.directory.path(), number);
        fs::remove_dir_all(watched.path(&format!("..2026_{}", number - 1))).unwrap();
        watched.until_services(&format!("a:{number}"));
    }
    // A link that leads nowhere is a file that is gone.
    fs::remove_file(watched.path("..data")).unwrap();
    watched.until_services("");
}

#[test]
fn a_link_to_a_file_elsewhere_is_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real.yaml");
    fs::write(&target, service("a", 1)).unwrap();
    let mut watched = Watched::new(|path| symlink(&target, path.join("a.yaml")).unwrap());
    watched.until_services("a:1");
    fs::write(&target, service("a", 2)).unwrap();
    watched.until_services("a:2");
}

#[test]
fn what_is_no_ordinary_file_is_left_alone() {
    let mut watched = Watched::new(|path| {
        // To read it would wait for a writer for ever.
        let pipe = std::process::Command::new("mkfifo").arg(path.join("pipe.yaml")).status();
        assert!(pipe.unwrap().success());
        fs::create_dir(path.join("directory.yaml")).unwrap();
        fs::write(path.join("directory.yaml/a.yaml"), service("a", 1)).unwrap();
        let huge = fs::File::create(path.join("huge.yaml")).unwrap();
        huge.set_len(65 << 20).unwrap();
    });
    watched.until_services("a:1");
    watched.until_diagnostic("huge.yaml: content: is larger than 64 MiB");
}

#[test]
fn a_circle_of_links_is_walked_once() {
    let mut watched = Watched::new(|path| {
        fs::create_dir(path.join("x")).unwrap();
        symlink("..", path.join("x/up")).unwrap();
        fs::write(path.join("a.yaml"), service("a", 1)).unwrap();
    });
    watched.until_services("a:1");
    assert_eq!(said(&watched.latest), "");
}

#[test]
fn a_directory_that_is_gone_keeps_its_objects_and_may_come_back() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("manifests");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), service("a", 1)).unwrap();
    let mut watched = Watched::at(outer, &path);
    fs::rename(&path, watched.path("moved")).unwrap();
    watched.until_diagnostic("manifests: content: cannot be read");
    assert_eq!(names(&watched.latest), "a:1");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), service("a", 2)).unwrap();
    watched.until_services("a:2");
    watched.until("well again", |update| update.diagnostics.is_empty());
}

#[test]
fn of_one_object_in_two_files_the_first_by_path_is_used() {
    let mut watched = Watched::new(|path| {
        fs::write(path.join("b.yaml"), service("x", 2)).unwrap();
        fs::write(path.join("a.yaml"), service("x", 1)).unwrap();
    });
    watched.until_services("x:1");
    watched.until_diagnostic("a.yaml and in ");
    assert!(
        said(&watched.latest).contains("b.yaml; the former is used"),
        "{}",
        said(&watched.latest)
    );
    // A file that is only remembered to have had it gives way to one that has it.
    watched.write("a.yaml", "a: [");
    watched.until_services("x:2");
    fs::remove_file(watched.path("a.yaml")).unwrap();
    watched.until("well again", |update| update.diagnostics.is_empty());
    assert_eq!(names(&watched.latest), "x:2");
}

#[test]
fn objects_that_did_not_change_are_the_same_allocation() {
    let mut watched = Watched::new(|path| {
        fs::write(path.join("a.yaml"), service("a", 1) + &service("b", 1)).unwrap();
        fs::write(path.join("n.yaml"), "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n")
            .unwrap();
    });
    let before = watched.latest.clone();
    watched.write("a.yaml", &(service("a", 1) + &service("b", 2)));
    watched.until_services("a:1 b:2");
    let service = |update: &Update| update.stores.services.get("default", "a").cloned().unwrap();
    assert!(Arc::ptr_eq(&service(&before), &service(&watched.latest)));
    assert!(before.stores.nodes.same(&watched.latest.stores.nodes));
    assert!(!before.stores.services.same(&watched.latest.stores.services));
}

#[test]
fn of_three_files_with_one_object_each_takes_over_when_the_ones_before_it_go() {
    let mut watched = Watched::new(|path| {
        for (name, port) in [("a", 1), ("b", 2), ("c", 3)] {
            fs::write(path.join(name).with_extension("yaml"), service("x", port)).unwrap();
        }
    });
    watched.until_services("x:1");
    watched.until("both told", |update| update.diagnostics.len() == 2);
    // What the file that is used says now.
    watched.write("a.yaml", &service("x", 4));
    watched.until_services("x:4");
    fs::remove_file(watched.path("a.yaml")).unwrap();
    watched.until_services("x:2");
    watched.until("one told", |update| update.diagnostics.len() == 1);
    watched.write("b.yaml", &service("y", 5));
    watched.until_services("x:3 y:5");
    assert_eq!(said(&watched.latest), "");
    // All that have it are broken: the first that had it still counts.
    watched.write("a.yaml", &service("x", 6));
    watched.until_services("x:6 y:5");
    watched.write("c.yaml", "c: [");
    watched.until_diagnostic("c.yaml: line");
    watched.write("a.yaml", "a: [");
    watched.until_diagnostic("a.yaml: line");
    assert_eq!(names(&watched.latest), "x:6 y:5");
    fs::remove_file(watched.path("a.yaml")).unwrap();
    watched.until_services("x:3 y:5");
}

/// What a change of one file costs among many, for people: `cargo test -p ingress-userspace --lib
/// one_of_many -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement: prints, asserts nothing about time"]
fn a_change_of_one_of_many_files() {
    for (files, each) in [(1, 30_000), (30_000, 1)] {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        for file in 0..files {
            let text: String = (0..each).map(|n| service(&format!("s{file}-{n}"), 1)).collect();
            write(&format!("{file}.yaml"), &text);
        }
        let mut source = Files::new(directory.path().to_owned());
        let timed = |what: &str, start: Instant| {
            println!("{files} files, {what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
        };
        let start = Instant::now();
        source.scan(&HashMap::new());
        timed("first scan", start);
        let start = Instant::now();
        assert!(source.scan(&HashMap::new()).is_none());
        timed("scan that finds nothing", start);
        write("other.yaml", &service("other", 1));
        let start = Instant::now();
        assert_eq!(source.scan(&HashMap::new()).unwrap().stores.services.len(), 30_001);
        timed("scan that finds one change", start);
        let start = Instant::now();
        drop(source.update());
        timed("telling the state", start);
    }
}

/// A change is applied within 100 ms of the last write. The machine may be busy with other things,
/// so one of several changes must be in time; a debounce that is too long would fail all of them.
#[test]
fn a_change_is_applied_within_100_milliseconds() {
    let mut watched = Watched::new(|_| {});
    let changes = 1..20;
    let fastest = changes.map(|port| {
        watched.write("a.yaml", &service("a", port));
        watched.until_services(&format!("a:{port}"))
    });
    let fastest = fastest.min().unwrap();
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}

/// Likewise for a writer that keeps its file open: its last write counts.
#[test]
fn a_file_that_stays_open_is_read_within_100_milliseconds_of_the_last_write() {
    let mut watched = Watched::new(|_| {});
    let fastest = (1..8).map(|number| {
        let mut file = fs::File::create(watched.path(&format!("{number}.yaml"))).unwrap();
        file.write_all(service(&format!("s{number}"), number).as_bytes()).unwrap();
        let name = format!("s{number}:{number}");
        let time = watched.until(&name, |update| names(update).contains(&name));
        drop(file);
        time
    });
    let fastest = fastest.min().unwrap();
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}

#[test]
fn a_file_that_is_being_written_loses_nothing() {
    let mut watched = Watched::new(|path| {
        fs::write(path.join("a.yaml"), service("a", 1) + &service("b", 1)).unwrap();
    });
    let mut file = fs::File::create(watched.path("a.yaml")).unwrap();
    file.write_all(service("a", 2).as_bytes()).unwrap();
    // So far it looks like a file with one object.
    watched.until_services("a:2 b:1");
    file.write_all(service("b", 2).as_bytes()).unwrap();
    watched.until_services("a:2 b:2");
    drop(file);
    // Closed without it, the object is gone.
    let mut file = fs::File::create(watched.path("a.yaml")).unwrap();
    file.write_all(service("a", 3).as_bytes()).unwrap();
    drop(file);
    watched.until_services("a:3");
}

#[test]
fn a_stream_of_writes_starves_no_change() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    let mut watched = Watched::new(|_| {});
    let stop = Arc::new(AtomicBool::new(false));
    let noise = watched.path("noise.yaml");
    let writer = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut port = 1;
            while !stop.load(Relaxed) {
                port = port % 60_000 + 1;
                fs::write(&noise, service("noise", port)).unwrap();
            }
        }
    });
    for port in 1..6 {
        watched.write("a.yaml", &service("a", port));
        let name = format!("a:{port}");
        watched.until(&name, |update| names(update).contains(&name));
    }
    stop.store(true, Relaxed);
    writer.join().unwrap();
}

#[test]
fn what_changed_nothing_is_not_told() {
    let watched = Watched::new(|path| fs::write(path.join("a.yaml"), service("a", 1)).unwrap());
    watched.write("a.yaml", &service("a", 1));
    watched.write("a.yaml", &service("a", 1));
    watched.write("notes.txt", "x");
    watched.write("b.yaml", &service("b", 1));
    // The next thing that is told is the one change.
    let next = watched.updates.recv_timeout(DEADLINE).unwrap();
    assert_eq!(names(&next), "a:1 b:1");
}
