//! The page in headless Chromium: what each view shows of a site with traffic, by pointer and by
//! keyboard, light, dark and on a phone. `PENSTOCK_WRITE_DOCS=1` keeps the pictures of it for the
//! documentation, after a minute of traffic.

mod chromium;
mod town;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::json;

use self::{chromium::Browser, town::Town};
use crate::{process::until, script};

const VIEWS: [&str; 6] = ["traffic", "routes", "diagnostics", "certificates", "l4", "explain"];
const PHONE: (u32, u32) = (390, 844);
const DESK: (u32, u32) = (1200, 900);

/// One browser at a time: each is many processes.
static TURN: Mutex<()> = Mutex::new(());

/// What goes when a test ends: the directory of its files, and its turn.
type Kept = (tempfile::TempDir, MutexGuard<'static, ()>);

/// A town, a browser and what they need; `None` after saying that `test` is skipped.
fn look(test: &str) -> Option<(Town, Browser, Kept)> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(browser) = Browser::start(directory.path()) else {
        script::missing(test, "chromium");
        return None;
    };
    let town = Town::start(test)?;
    Some((town, browser, (directory, turn)))
}

/// Opens a view.
fn open(browser: &mut Browser, town: &Town, view: &str) {
    browser.open("about:blank");
    browser.open(&format!("http://localhost:{}/#/{view}", town.site.page.port()));
    browser.until("document.querySelector('main h1') && document.querySelector('#state').textContent === 'ready'");
}

/// What is written in the rows of the first table.
const ROWS: &str = "[...document.querySelectorAll('main tbody tr')].map((row) => row.innerText)";

fn rows_with(text: &str) -> String {
    format!("{ROWS}.filter((row) => row.includes({text:?})).length")
}

#[test]
fn each_view_shows_what_there_is() {
    let Some((town, mut browser, _files)) = look("each_view_shows_what_there_is") else { return };
    let browser = &mut browser;
    browser.size(DESK.0, DESK.1, false);

    open(browser, &town, "traffic");
    browser.until(&rows_with("shop/checkout"));
    // One of six is a 502: far above what is red.
    browser.until("document.querySelector('.tile.bad')");
    browser.until(&format!(
        "{ROWS}.some((row) => row.includes('shop/checkout') && /\\d+\\.?\\d* %/.test(row))"
    ));
    browser.until("document.querySelectorAll('.chart polygon.s5').length === 1");
    // The page of one Ingress.
    browser.value("[...document.querySelectorAll('main td a')].find((link) => link.textContent === 'shop/checkout').click()");
    browser.until("document.querySelector('h1').textContent === 'Traffic of shop/checkout'");
    browser.until("document.querySelector('.tile .value').textContent !== '–'");
    assert_eq!(browser.value("location.hash"), "#/traffic?ingress=shop%2Fcheckout");
    browser.value("history.back()");
    browser.until("document.querySelector('h1').textContent === 'Traffic'");
    browser.value("[...document.querySelectorAll('button')].find((button) => button.textContent === 'Host').click()");
    browser.until(&rows_with("pay.example.com"));

    open(browser, &town, "routes");
    browser.until(&format!(
        "{} && {}",
        rows_with("shop.example.com"),
        rows_with("wiki.example.com")
    ));
    browser.value("document.querySelector('input[type=search]').focus()");
    browser.write("check");
    browser.until(&format!("{ROWS}.length === 1 && {}", rows_with("pay.example.com/")));
    browser.value("[...document.querySelectorAll('main td a')].find((link) => link.href.includes('service=')).click()");
    browser.until("document.querySelector('h1').textContent === 'Service shop/checkout'");
    browser.until(&format!("{ROWS}.length === 2 && {}", rows_with("checkout-1")));
    browser.until(&format!("{} === 2", rows_with("ready")));
    browser.until(&format!("{ROWS}.every((row) => /\\d ms/.test(row))"));

    open(browser, &town, "diagnostics");
    browser.until(&rows_with("rewrite-targt"));
    browser.until("document.querySelector('nav .count')");

    open(browser, &town, "certificates");
    browser.until(&rows_with("shop/storefront"));
    let first = browser.value(&format!("{ROWS}[0]")).to_string();
    assert!(first.contains("shop/checkout") && first.contains("pay.example.com"), "{first}");
    assert_eq!(browser.value("document.querySelectorAll('main tbody .badge.bad').length"), 1);

    open(browser, &town, "l4");
    browser.until("document.querySelector('main .empty:not([hidden])').textContent.includes('off on this node')");

    open(browser, &town, "explain");
    browser.value("document.querySelector('#url').focus()");
    browser.write("http://pay.example.com/cart");
    browser.press("Enter");
    browser.until("document.querySelector('.verdict')?.textContent.includes('shop/checkout:80')");
    browser.until(&rows_with("shop/checkout"));
    browser.value("document.querySelector('#url').select()");
    // What tries to be markup is text.
    browser.write("http://a/<img src=x onerror=alert(1)>");
    browser.press("Enter");
    browser.until("document.querySelector('.results .alert')?.textContent.includes('<img src=x')");
    assert_eq!(browser.value("document.querySelectorAll('img').length"), 0);
    browser.is_sound();
}

#[test]
fn a_keyboard_is_enough() {
    let Some((town, mut browser, _files)) = look("a_keyboard_is_enough") else { return };
    let browser = &mut browser;
    browser.size(DESK.0, DESK.1, false);
    open(browser, &town, "traffic");
    browser.until(&rows_with("shop/checkout"));
    browser.press("Tab");
    assert_eq!(browser.value("document.activeElement.id"), "skip");
    browser.press("Enter");
    assert_eq!(browser.value("document.activeElement.id"), "main");
    assert_eq!(browser.value("location.hash"), "#/traffic");
    // Everything that can be clicked can be focused, in the order in which it is seen.
    open(browser, &town, "traffic");
    browser.until(&rows_with("shop/checkout"));
    // Rows neither come nor change places meanwhile.
    let pause = "document.getElementById('pause').click()";
    browser.value(pause);
    let all = browser.value(
        "document.querySelectorAll('a, button, input, select, textarea, svg[tabindex]').length",
    );
    let mut seen = Vec::new();
    for _ in 0..all.as_u64().expect("a number") {
        browser.press("Tab");
        let focused = "(() => { const own = document.activeElement; \
                       return own.id || own.textContent.trim() || own.getAttribute('aria-label'); })()";
        seen.push(browser.value(focused).as_str().unwrap_or_default().to_owned());
    }
    let place = |name: &str| {
        let found = seen.iter().position(|own| own.contains(name));
        found.unwrap_or_else(|| panic!("{name}: not in {seen:?}"))
    };
    let order =
        ["skip", "pause", "theme", "Routes", "Explain", "1 min", "shop/checkout"].map(place);
    assert!(order.is_sorted(), "{order:?} {seen:?}");
    browser.value(pause);
    // A chart is read with the arrow keys, and what is read stays the same while time goes on.
    browser.until("document.querySelector('.chart polygon.s2')");
    browser.value("document.querySelector('.chart svg').focus()");
    browser.press("ArrowLeft");
    browser.until("document.querySelector('.chart .cross')");
    let legend = "document.querySelector('.chart .legend').innerText";
    let read = browser.value(legend);
    assert!(!read.to_string().contains("now"), "{read}");
    let label = "document.querySelector('.chart .cross').getAttribute('x1')";
    let place = browser.value(label);
    browser.until(&format!("{label} !== {place}"));
    assert_eq!(browser.value(legend), read);
    browser.press("Escape");
    browser.until("!document.querySelector('.chart .cross')");
    // A view is opened by its link, and the focus goes to what it shows.
    browser.value("document.querySelector('nav a[href=\"#/routes\"]').focus()");
    browser.press("Enter");
    browser.until("document.querySelector('h1').textContent === 'Routes'");
    assert_eq!(browser.value("document.activeElement.id"), "main");
    assert_eq!(
        browser.value("document.querySelector('nav [aria-current=page]').textContent"),
        "Routes"
    );
    // Whatever is written into has a name, and whatever is a table says what its columns are.
    for view in VIEWS {
        open(browser, &town, view);
        let nameless = "[...document.querySelectorAll('input, select, textarea, button')]\
                        .filter((own) => !(own.labels?.length || own.getAttribute('aria-label') || own.textContent.trim())).length";
        assert_eq!(browser.value(nameless), 0, "{view}");
        let scopeless = "document.querySelectorAll('th:not([scope])').length";
        assert_eq!(browser.value(scopeless), 0, "{view}");
    }
    browser.is_sound();
}

/// How well text can be told from its background: WCAG 2.2, section 1.4.3, asks for 4.5.
const CONTRASTS: &str = "(() => {
  const probe = document.body.appendChild(document.createElement('i'));
  const light = (name) => {
    probe.style.color = `var(${name})`;
    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const linear = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const pairs = [];
  for (const [ink, paper] of [['ink', 'sheet'], ['ink', 'paper'], ['quiet', 'sheet'], ['quiet', 'paper'],
      ['quiet', 'hover'], ['link', 'sheet'], ['good', 'good-soft'], ['warn', 'warn-soft'], ['bad', 'bad-soft']]) {
    const [one, two] = [light(`--${ink}`), light(`--${paper}`)];
    pairs.push([`${ink} on ${paper}`, (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)]);
  }
  probe.remove();
  return pairs;
})()";

#[test]
fn it_is_readable_in_the_light_in_the_dark_and_on_a_phone() {
    let test = "it_is_readable_in_the_light_in_the_dark_and_on_a_phone";
    let Some((town, mut browser, _files)) = look(test) else { return };
    let browser = &mut browser;
    let paper = "getComputedStyle(document.body).backgroundColor";
    let mut papers = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefers(scheme);
        open(browser, &town, "traffic");
        papers.push(browser.value(paper));
        for pair in browser.value(CONTRASTS).as_array().expect("a list") {
            let contrast = pair[1].as_f64().expect("a number");
            assert!(contrast >= 4.5, "{scheme}: {} has {contrast:.2}", pair[0]);
        }
    }
    assert_ne!(papers[0], papers[1]);
    // What is chosen goes before what the system prefers, also the next time.
    let choose = |theme: &str| {
        format!(
            "(() => {{ const own = document.querySelector('#theme'); own.value = {theme:?}; \
             own.dispatchEvent(new Event('change')); }})()"
        )
    };
    browser.value(&choose("light"));
    assert_eq!(browser.value(paper), papers[0]);
    open(browser, &town, "traffic");
    assert_eq!(browser.value(paper), papers[0]);
    assert_eq!(browser.value("document.querySelector('#theme').value"), "light");
    browser.value(&choose("system"));
    assert_eq!(browser.value(paper), papers[1]);
    // Nothing is wider than a phone.
    browser.size(PHONE.0, PHONE.1, true);
    for view in VIEWS {
        open(browser, &town, view);
        if matches!(view, "traffic" | "routes" | "certificates") {
            browser.until(&rows_with("shop/checkout"));
        }
        let width = browser.value("document.documentElement.scrollWidth");
        assert!(width.as_u64() <= Some(PHONE.0.into()), "{view}: {width}");
        // Titles of columns stand beside each value there.
        let wide = "[...document.querySelectorAll('main *')].filter((own) => !own.closest('thead') && \
                    own.getBoundingClientRect().right > innerWidth + 1).map((own) => own.outerHTML.slice(0, 200))";
        assert_eq!(browser.value(wide), json!([]), "{view}");
    }
    browser.is_sound();
}

#[test]
fn an_agent_that_does_not_answer_is_told_of() {
    let test = "an_agent_that_does_not_answer_is_told_of";
    let Some((mut town, mut browser, _files)) = look(test) else { return };
    let browser = &mut browser;
    open(browser, &town, "traffic");
    browser.until(&rows_with("shop/checkout"));
    town.site.agent.end();
    until("the agent has ended", || !town.site.agent.runs());
    browser.until("document.querySelector('#alerts').textContent.includes('No answer from the agent; what is shown is of')");
    browser.until("document.querySelector('#state').textContent === 'no answer'");
    // What was known stays to be seen.
    assert_ne!(browser.value(&rows_with("shop/checkout")), 0);
    browser.is_sound();
}

#[test]
fn nothing_is_asked_while_it_is_paused() {
    let Some((town, mut browser, _files)) = look("nothing_is_asked_while_it_is_paused") else {
        return;
    };
    let browser = &mut browser;
    open(browser, &town, "traffic");
    // What the test asks for fills the list of what was asked too: not to its end.
    browser.value("performance.setResourceTimingBufferSize(1000000)");
    // Of the page: the test asks for somebody who has nothing.
    let asked = "performance.getEntriesByType('resource')\
                 .filter((own) => own.name.includes('/api/v1/history?after')).length";
    browser.until(&format!("{asked} > 2"));
    browser.value("document.querySelector('#pause').click()");
    let before = browser.value(asked).as_u64().expect("a number");
    let second = "fetch('/api/v1/history?host=nobody').then((answer) => answer.json())\
                  .then((own) => own.last)";
    let begun = browser.value(second);
    // Eight seconds in which it would have asked as often.
    until("the agent goes on", || {
        browser.value(second).as_u64() >= begun.as_u64().map(|own| own + 8)
    });
    let after = browser.value(asked).as_u64().expect("a number");
    assert!(after <= before + 1, "{before} {after}: not only what was under way");
    browser.value("document.querySelector('#pause').click()");
    browser.until(&format!("{asked} > {after}"));
    browser.is_sound();
}

/// What the kernel tier of one of three nodes may tell; in these tests it is off.
fn l4() -> serde_json::Value {
    let node = |id: u32, state: &str, rows: u32, sent: u64| {
        json!({
            "name": format!("edge-{id}"), "id": id, "address": format!("192.0.2.1{id}"), "state": state,
            "reachable": true, "weight": 100, "full_size": true, "rows": rows,
            "share": f64::from(rows) / 65536.0, "first": sent, "next": sent / 50, "relayed": 3,
            "bytes": sent * 900,
        })
    };
    let service = |name: &str, reasons: &[(&str, &str, u64)]| {
        let of = |verdict: &str| -> u64 {
            reasons.iter().filter(|own| own.0 == verdict).map(|own| own.2).sum()
        };
        json!({
            "name": name, "pass": of("pass"), "forward": of("forward"), "drop": of("drop"),
            "reasons": reasons.iter().map(|(verdict, reason, packets)| json!({
                "verdict": verdict, "reason": reason, "packets": packets, "bytes": packets * 700,
            })).collect::<Vec<_>>(),
        })
    };
    json!({
        "on": true, "errors": [],
        "interfaces": [{ "name": "eth0", "mode": "native" }],
        "generations": [{ "group": 0, "generation": 7 }],
        "nodes": [
            node(1, "ready", 32_771, 0), node(2, "ready", 32_765, 812_345), node(3, "draining", 0, 4_211),
        ],
        "services": [
            service("203.0.113.10:443/tcp", &[
                ("pass", "local", 1_204_551), ("forward", "first", 816_556), ("drop", "malformed", 12),
            ]),
            service("203.0.113.10:80/tcp", &[("pass", "local", 40_112), ("forward", "first", 22_345)]),
            service("none", &[("pass", "not-vip", 9_120_433)]),
        ],
        "events": [],
    })
}

#[test]
fn the_kernel_tier_is_shown() {
    let Some((town, mut browser, _files)) = look("the_kernel_tier_is_shown") else { return };
    let browser = &mut browser;
    browser.size(DESK.0, DESK.1, false);
    browser.answer("/api/v1/l4", l4());
    open(browser, &town, "l4");
    browser.until(&rows_with("edge-3"));
    assert_eq!(browser.value("document.querySelectorAll('main .badge.warn').length"), 1);
    browser
        .until(&format!("{ROWS}.some((row) => row.includes('edge-1') && row.includes('50.0 %'))"));
    browser.until(&rows_with("drop malformed: 12"));
    browser.until("document.querySelector('main dl').innerText.includes('edge-3')");
    // Two looks at the same counters: a rate.
    browser.until(&format!(
        "{ROWS}.filter((row) => row.includes('edge-2') && !row.includes('–')).length"
    ));
    browser.is_sound();
}

#[test]
fn pictures_of_each_view() {
    let Some((town, mut browser, _files)) = look("pictures_of_each_view") else { return };
    let browser = &mut browser;
    let is_kept = std::env::var_os("PENSTOCK_WRITE_DOCS").is_some();
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    browser.answer("/api/v1/l4", l4());
    open(browser, &town, "traffic");
    if is_kept {
        // A minute of traffic, or there is nothing to see in a chart.
        let many =
            "fetch('/api/v1/history').then((answer) => answer.json()).then((own) => own.last > 65)";
        let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while browser.value(many) != true {
            assert!(std::time::Instant::now() < end, "no seconds");
        }
    }
    for (look, scheme, (width, height), is_phone) in [
        ("light", "light", DESK, false),
        ("dark", "dark", DESK, false),
        ("phone", "light", PHONE, true),
    ] {
        browser.prefers(scheme);
        browser.size(width, height, is_phone);
        for view in VIEWS {
            let place = match view {
                "explain" => "explain?url=http%3A%2F%2Fpay.example.com%2Fcart",
                view => view,
            };
            open(browser, &town, place);
            browser.until(match view {
                "traffic" => "document.querySelectorAll('main tbody tr').length > 4",
                "l4" => "[...document.querySelectorAll('main tbody tr')].some((row) => /\\b0\\b/.test(row.innerText))",
                "explain" => "document.querySelector('.verdict')",
                _ => "document.querySelectorAll('main tbody tr').length > 1",
            });
            if view == "traffic" {
                browser.value("[...document.querySelectorAll('button')].find((own) => own.textContent === '1 min').click()");
                browser.until("document.querySelector('.chart polygon.s2')");
            }
            let picture = browser.picture();
            assert_eq!((&picture[..4], &picture[8..12]), (&b"RIFF"[..], &b"WEBP"[..]), "{view}");
            assert!(picture.len() > 3000, "{view}: nothing is on it");
            if is_kept {
                std::fs::create_dir_all(&directory).expect("a directory");
                let path = directory.join(format!("page-{view}-{look}.webp"));
                std::fs::write(path, &picture).expect("a file");
            }
        }
    }
    browser.is_sound();
}
