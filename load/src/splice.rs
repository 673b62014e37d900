//! What a large body costs who passes it on: read to memory and written from there, or spliced
//! through a pipe. An experiment; no proxy is in it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result};
use nix::{
    fcntl::{FcntlArg, SpliceFFlags, fcntl, splice},
    sys::resource::{Usage, UsageWho, getrusage},
    unistd::pipe,
};

use crate::say;

/// A mebibyte, of which there are to be so many. Bytes.
const UNIT: usize = 1024 * 1024;

/// Prints, for each way and size, the CPU µs of a MiB: the program's, the kernel's.
pub(crate) fn main(mebibytes: usize) -> Result<()> {
    for round in 1..=3 {
        for size in [32, 128, 1024].map(|kibibytes| kibibytes * 1024) {
            let copied = passed(mebibytes, |from, to| copy(from, to, size))?;
            let spliced = passed(mebibytes, |from, to| through_pipe(from, to, size))?;
            let shown = |[user, system]: [f64; 2]| format!("{user:.1} + {system:.1}");
            say(&format!(
                "round {round}, {:>4} KiB at a time: copied {}, spliced {} µs per MiB",
                size / 1024,
                shown(copied),
                shown(spliced)
            ))?;
        }
    }
    Ok(())
}

/// Passes so much from a thread that sends to one that receives, and measures who passes it on.
fn passed(
    mebibytes: usize,
    pass: impl FnOnce(TcpStream, TcpStream) -> Result<()>,
) -> Result<[f64; 2]> {
    let (sender, from) = pair()?;
    let (to, receiver) = pair()?;
    let sending = thread::spawn(move || -> Result<()> {
        let mut sender = sender;
        let unit = vec![b'x'; UNIT];
        for _ in 0..mebibytes {
            sender.write_all(&unit)?;
        }
        Ok(sender.shutdown(Shutdown::Write)?)
    });
    let receiving = thread::spawn(move || -> Result<usize> {
        let mut receiver = receiver;
        let mut buffer = vec![0; UNIT];
        let mut received = 0;
        loop {
            match receiver.read(&mut buffer)? {
                0 => return Ok(received),
                count => received += count,
            }
        }
    });
    let before = getrusage(UsageWho::RUSAGE_THREAD)?;
    pass(from, to)?;
    let after = getrusage(UsageWho::RUSAGE_THREAD)?;
    sending.join().ok().context("the sender panicked")??;
    let received = receiving.join().ok().context("the receiver panicked")??;
    anyhow::ensure!(received == mebibytes * UNIT, "{received} bytes came");
    let micros = |usage: &Usage| {
        [usage.user_time(), usage.system_time()]
            .map(|time| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64)
    };
    let ([user, system], before) = (micros(&after), micros(&before));
    Ok([user - before[0], system - before[1]].map(|time| time / mebibytes as f64))
}

/// Two ends of a connection.
fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    Ok((one, listener.accept()?.0))
}

fn copy(mut from: TcpStream, mut to: TcpStream, size: usize) -> Result<()> {
    let mut buffer = vec![0; size];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
}

fn through_pipe(from: TcpStream, to: TcpStream, size: usize) -> Result<()> {
    let (end, begin) = pipe()?;
    fcntl(&begin, FcntlArg::F_SETPIPE_SZ(i32::try_from(size)?)).context("the pipe's size")?;
    let flags = SpliceFFlags::SPLICE_F_MOVE;
    loop {
        let mut held = splice(&from, None, &begin, None, size, flags)?;
        if held == 0 {
            return Ok(());
        }
        while held > 0 {
            held -= splice(&end, None, &to, None, held, flags)?;
        }
    }
}
