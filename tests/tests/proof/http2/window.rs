//! Flow control and acknowledgement, where frames go back and forth: RFC 9113, sections 6.5.3, 6.7
//! and 6.9. The backend's body is `ok`, two octets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::ClientConfig;

use super::{
    LIMIT, ends,
    frame::{
        ACK, DATA, END_STREAM, GET, GOAWAY, Got, PING, POST, SETTINGS, WINDOW_UPDATE, Wire, frame,
        opening, request, settings,
    },
    shown,
};

type Tls<'a> = Option<&'a Arc<ClientConfig>>;
type Run = fn(SocketAddr, Tls<'_>) -> Result<(), String>;

/// Rows and how they run.
pub(super) const ALL: &[(&str, Run)] = &[
    ("6.5.3 SETTINGS are acknowledged", acknowledged),
    ("6.5.3 the last value of a setting counts", last_value),
    ("6.7 PING is answered with its own data", ping),
    ("6.9 the size of the window is respected", one_octet),
    ("6.9.2 a window that opens with a change of settings", opened_later),
    ("6.9.2 a window below zero", below_zero),
    ("6.9 the connection's window is not the streams'", connection_window),
    ("6.9 an upload of 1 MB gets its windows", upload),
    ("6.9 data beyond the window", beyond),
    ("5.1.2 a request behind one that is reset is served", after_reset),
    ("6.8 a client's GOAWAY lets its requests end", goaway),
];

fn window(stream: u32, size: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &size.to_be_bytes())
}

fn set(pairs: &[(u16, u32)]) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &settings(pairs))
}

/// Reads until such a frame comes; says what came instead.
fn await_frame(wire: &mut Wire, wanted: impl Fn(&Got) -> bool) -> Result<Got, String> {
    let mut seen = Vec::new();
    while let Some(got) = wire.next(LIMIT) {
        if wanted(&got) {
            return Ok(got);
        }
        seen.push(shown(&got));
    }
    Err(format!("not after {seen:?}, ended: {}", wire.ended()))
}

fn data(wire: &mut Wire) -> Result<Vec<u8>, String> {
    await_frame(wire, |got| got.kind == DATA).map(|got| got.payload)
}

fn expect(got: &[u8], wanted: &[u8]) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("DATA {got:?}, not {wanted:?}")) }
}

/// Nothing but what control needs comes before the answer to a PING.
fn quiet(wire: &mut Wire) -> Result<(), String> {
    wire.send(&frame(PING, 0, 0, b"quiet?.."));
    let got = await_frame(wire, |got| got.kind == PING || got.kind == DATA)?;
    if got.kind == PING { Ok(()) } else { Err(format!("unexpected {}", shown(&got))) }
}

fn acknowledged(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[]);
    let first = wire.next(LIMIT).ok_or("nothing comes")?;
    // Section 3.4: the server's SETTINGS are its first frame.
    if first.kind != SETTINGS || first.flags & ACK != 0 {
        return Err(format!("the first frame is {}", shown(&first)));
    }
    let ack = |got: &Got| got.kind == SETTINGS && got.flags & ACK != 0;
    await_frame(&mut wire, ack)?;
    wire.send(&set(&[(3, 7)]));
    await_frame(&mut wire, ack).map(drop)
}

fn last_value(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[(4, 100), (4, 1)]);
    wire.send(&request(1, GET));
    expect(&data(&mut wire)?, b"o")
}

fn ping(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[]);
    wire.send(&frame(PING, 0, 0, b"own data"));
    let got = await_frame(&mut wire, |got| got.kind == PING)?;
    if got.flags & ACK == 0 {
        Err("not an acknowledgement".to_owned())
    } else {
        expect(&got.payload, b"own data")
    }
}

fn one_octet(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[(4, 1)]);
    wire.send(&request(1, GET));
    expect(&data(&mut wire)?, b"o")?;
    quiet(&mut wire)?;
    wire.send(&window(1, 100));
    expect(&data(&mut wire)?, b"k")
}

fn opened_later(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[(4, 0)]);
    wire.send(&request(1, GET));
    await_frame(&mut wire, |got| got.status() == Some(200))?;
    quiet(&mut wire)?;
    wire.send(&set(&[(4, 1)]));
    expect(&data(&mut wire)?, b"o")
}

fn below_zero(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[(4, 1)]);
    wire.send(&request(1, GET));
    expect(&data(&mut wire)?, b"o")?;
    // From 0 to -1, to 0, to 1.
    wire.send(&set(&[(4, 0)]));
    wire.send(&window(1, 1));
    quiet(&mut wire)?;
    wire.send(&window(1, 1));
    expect(&data(&mut wire)?, b"k")
}

/// Opening the connection's window opens no stream's.
fn connection_window(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[(4, 0)]);
    wire.send(&[request(1, GET), request(3, GET)].concat());
    await_frame(&mut wire, |got| got.status() == Some(200))?;
    await_frame(&mut wire, |got| got.status() == Some(200))?;
    wire.send(&window(0, 1000));
    quiet(&mut wire)?;
    wire.send(&window(3, 2));
    let got = await_frame(&mut wire, |got| got.kind == DATA)?;
    if got.stream == 3 { expect(&got.payload, b"ok") } else { Err(shown(&got)) }
}

fn upload(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[]);
    wire.send(&opening(1, POST));
    let (mut left, mut connection, mut stream) = (1_000_000i64, 65_535i64, 65_535i64);
    while left > 0 {
        while let room @ 1.. = connection.min(stream).min(left).min(16_384) {
            let flags = if room == left { END_STREAM } else { 0 };
            wire.send(&frame(DATA, flags, 1, &vec![b'x'; room as usize]));
            (left, connection, stream) = (left - room, connection - room, stream - room);
        }
        if left == 0 {
            break;
        }
        let wanted =
            |got: &Got| got.kind == WINDOW_UPDATE || got.kind == SETTINGS && got.flags & ACK == 0;
        let got = await_frame(&mut wire, wanted)?;
        if got.kind == SETTINGS {
            // They count from here on (section 6.5.3).
            wire.send(&frame(SETTINGS, ACK, 0, &[]));
            for pair in got.payload.chunks(6).filter(|pair| pair[..2] == [0, 4]) {
                let bytes: [u8; 4] = pair[2..6].try_into().map_err(|_short| "SETTINGS")?;
                stream += i64::from(u32::from_be_bytes(bytes)) - 65_535;
            }
            continue;
        }
        let bytes: [u8; 4] = got.payload[..4].try_into().map_err(|_short| "WINDOW_UPDATE")?;
        let size = i64::from(u32::from_be_bytes(bytes));
        if size == 0 {
            return Err("a window update of 0".to_owned());
        }
        if got.stream == 0 { connection += size } else { stream += size }
    }
    await_frame(&mut wire, ends).map(drop)
}

fn beyond(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[]);
    // Nobody opens the window as fast as this: the data comes in one go, and is far above any window
    // that a server tells at its start.
    wire.send(&opening(1, POST));
    let piece = frame(DATA, 0, 1, &vec![b'x'; 16_384]);
    for _ in 0..4096 {
        if !wire.send(&piece) {
            return Ok(());
        }
    }
    match await_frame(&mut wire, |got| got.code().is_some()) {
        Ok(got) if got.code() != Some(super::FLOW_CONTROL_ERROR) => Err(shown(&got)),
        // The data was read as fast as it came, and the windows were opened in time.
        _ => Ok(()),
    }
}

fn after_reset(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[]);
    for number in 0..5 {
        wire.send(&opening(2 * number + 1, POST));
        wire.send(&frame(super::RST_STREAM, 0, 2 * number + 1, &super::CANCEL.to_be_bytes()));
    }
    wire.send(&request(11, GET));
    let got = await_frame(&mut wire, |got| got.status().is_some())?;
    if (got.stream, got.status()) == (11, Some(200)) { Ok(()) } else { Err(shown(&got)) }
}

fn goaway(address: SocketAddr, tls: Tls<'_>) -> Result<(), String> {
    let mut wire = Wire::greeted(address, tls, &[]);
    wire.send(&[request(1, GET), frame(GOAWAY, 0, 0, &[0; 8])].concat());
    await_frame(&mut wire, |got| got.status() == Some(200))?;
    // Nothing more can come of the connection: it ends.
    while wire.next(Duration::from_secs(3)).is_some() {}
    if wire.ended() { Ok(()) } else { Err("the connection stays open".to_owned()) }
}
