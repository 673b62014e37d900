use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    raw::{frame, goaway, listener, requests},
    *,
};

#[test]
fn a_client_that_leaves_cancels() {
    run(async {
        let reason: Rc<Cell<Option<Reason>>> = Rc::default();
        let seen = Rc::clone(&reason);
        let (address, _) = server(plain, move |(_, mut respond)| {
            let seen = Rc::clone(&seen);
            async move {
                let mut answer = respond.send_response(Response::new(()), false).expect("there");
                seen.set(poll_fn(|cx| answer.poll_reset(cx)).await.ok());
            }
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::Unknown).await;
        head(&mut stream).await.expect("an answer");
        drop(stream);
        while reason.get().is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(reason.get(), Some(Reason::CANCEL));
        assert_eq!(bench.pool.len(), 1, "the connection stays");
    });
}

#[test]
fn resets_say_whether_the_request_was_looked_at() {
    run(async {
        let (address, _) = server(plain, |(request, mut respond)| async move {
            let code: u32 = request.uri().path()[1..].parse().expect("a code");
            respond.send_reset(code.into());
        })
        .await;
        let bench = Bench::new();
        for (reason, expected) in [
            (Reason::REFUSED_STREAM, UpstreamError::Refused),
            (Reason::CANCEL, UpstreamError::Closed),
            (Reason::INTERNAL_ERROR, UpstreamError::Closed),
            (Reason::HTTP_1_1_REQUIRED, UpstreamError::Closed),
            (Reason::NO_ERROR, UpstreamError::Closed),
        ] {
            let target = format!("/{}", u32::from(reason));
            let mut stream = bench.ask(address, &target, BodyLength::None).await;
            assert_eq!(head(&mut stream).await.map(drop), Err(expected), "{reason}");
            assert_eq!(head(&mut stream).await.map(drop), Err(expected), "it is repeated");
            let mut stream = bench.ask(address, &target, BodyLength::Unknown).await;
            let data = vec![7; 1 << 20];
            let written = write(&mut stream, &data).await;
            // Thrown away where the endpoint only wants no more; then the head tells.
            let outcome = match written {
                Ok(()) => head(&mut stream).await.map(drop),
                error => error,
            };
            assert_eq!(outcome, Err(expected), "{reason}");
        }
    });
}

#[test]
fn a_reset_in_the_middle_of_an_answer_is_no_end() {
    run(async {
        let (address, _) = server(plain, |(request, mut respond)| async move {
            let code: u32 = request.uri().path()[1..].parse().expect("a code");
            let mut answer = respond.send_response(Response::new(()), false).expect("it is there");
            answer.send_data(Bytes::from_static(b"half"), false).expect("it is there");
            poll_fn(|cx| {
                answer.reserve_capacity(1);
                answer.poll_capacity(cx)
            })
            .await;
            answer.send_reset(code.into());
        })
        .await;
        let bench = Bench::new();
        for reason in [Reason::NO_ERROR, Reason::REFUSED_STREAM, Reason::CANCEL] {
            let target = format!("/{}", u32::from(reason));
            let mut stream = bench.ask(address, &target, BodyLength::None).await;
            // The reset may overtake the head, not turn it into a whole answer.
            let outcome = match head(&mut stream).await {
                Ok(_) => read(&mut stream).await.map(drop),
                Err(error) => Err(error),
            };
            assert!(outcome.is_err(), "{reason}");
        }
    });
}

#[test]
fn a_request_above_the_last_of_a_goaway_was_not_looked_at() {
    run(async {
        let address = listener(|mut stream| async move {
            requests(&mut stream, 2).await;
            // The first is answered, the second refused.
            stream.write_all(&goaway(1, 0)).await.expect("it is there");
            stream.write_all(&frame(1, 4, 1, &[0x88])).await.expect("it is there");
            stream.write_all(&frame(0, 1, 1, b"one")).await.expect("it is there");
            let _end = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let bench = Bench::new();
        let mut one = bench.ask(address, "/", BodyLength::None).await;
        let mut two = bench.ask(address, "/", BodyLength::None).await;
        assert!(!one.is_reused() && two.is_reused());
        assert_eq!(head(&mut two).await.map(drop), Err(UpstreamError::Refused));
        assert_eq!(head(&mut one).await.expect("an answer").status, 200);
        assert_eq!(read(&mut one).await.expect("whole"), b"one");
    });
}

#[test]
fn a_request_below_the_last_of_a_goaway_was_looked_at() {
    run(async {
        let address = listener(|mut stream| async move {
            requests(&mut stream, 1).await;
            stream.write_all(&goaway(1, 2)).await.expect("it is there");
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::None).await;
        assert_eq!(head(&mut stream).await.map(drop), Err(UpstreamError::Closed));
    });
}

#[test]
fn an_endpoint_that_closes_is_closed_and_one_that_talks_nonsense_is_malformed() {
    run(async {
        let close = listener(|mut stream| async move { requests(&mut stream, 1).await }).await;
        let nonsense = listener(|mut stream| async move {
            requests(&mut stream, 1).await;
            // CONTINUATION without HEADERS.
            stream.write_all(&frame(9, 4, 1, &[0x88])).await.expect("it is there");
            let _end = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let bench = Bench::new();
        for (address, expected) in
            [(close, UpstreamError::Closed), (nonsense, UpstreamError::Malformed)]
        {
            let mut stream = bench.ask(address, "/", BodyLength::None).await;
            assert_eq!(head(&mut stream).await.map(drop), Err(expected));
        }
    });
}

#[test]
fn a_body_of_another_length_than_said_is_malformed() {
    run(async {
        let (address, _) = server(plain, |(_, mut respond)| async move {
            let response = Response::builder().header("content-length", "9").body(());
            let mut answer =
                respond.send_response(response.expect("plain"), false).expect("it is there");
            answer.send_data(Bytes::from_static(b"short"), true).expect("it is there");
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::None).await;
        let outcome = match head(&mut stream).await {
            Ok(_) => read(&mut stream).await.map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(outcome, Err(UpstreamError::Malformed));
    });
}

#[test]
fn an_endpoint_that_says_nothing_is_late_and_gets_no_more_on_that_connection() {
    run(async {
        let (address, counts) = server(plain, |asked| async move {
            match asked.0.uri().path() {
                "/never" => std::future::pending().await,
                "/half" => {
                    let mut respond = asked.1;
                    let _answer = respond.send_response(Response::new(()), false);
                    std::future::pending().await
                }
                _ => ok(asked).await,
            }
        })
        .await;
        let bench = Bench::new();
        let mut other = bench.ask(address, "/half", BodyLength::Unknown).await;
        head(&mut other).await.expect("an answer");
        let mut stream = bench.ask(address, "/never", BodyLength::None).await;
        let late = async { head(&mut stream).await.map(drop) };
        let tick = async {
            tokio::task::yield_now().await;
            bench.pass(61);
        };
        let (outcome, ()) = tokio::join!(late, tick);
        assert_eq!(outcome, Err(UpstreamError::Late));
        bench.get(address, "/").await.expect("an answer");
        assert_eq!(counts.connections.get(), 2);
        // What was on it goes on until it is late itself.
        let late = async { part(&mut other).await.map(drop) };
        let tick = async {
            tokio::task::yield_now().await;
            bench.pass(122);
        };
        let (outcome, ()) = tokio::join!(late, tick);
        assert_eq!(outcome, Err(UpstreamError::Late));
    });
}

#[test]
fn an_endpoint_that_takes_nothing_is_late() {
    run(async {
        let (address, _) = server(plain, |asked| async move {
            std::future::pending::<()>().await;
            drop(asked)
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::Unknown).await;
        let data = vec![7; 1 << 20];
        let late = write(&mut stream, &data);
        let tick = async {
            for second in 0..=62 {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                bench.pass(second);
            }
            // The window was full well before; wake whoever waits.
            bench.pass(200);
        };
        let (outcome, ()) = tokio::join!(late, tick);
        assert_eq!(outcome, Err(UpstreamError::Late));
    });
}

#[test]
fn a_slow_upload_is_not_late_for_its_answer() {
    run(async {
        let (address, _) = server(plain, |(mut request, respond)| async move {
            while let Some(Ok(data)) = request.body_mut().data().await {
                request.body_mut().flow_control().release_capacity(data.len()).expect("taken");
            }
            ok((request, respond)).await;
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::Unknown).await;
        for round in 1..=5 {
            write(&mut stream, b"x").await.expect("it is taken");
            // Whoever sends nothing for so long is the client, whose own timeout this is about.
            for seconds in [0, 61, 122] {
                bench.pass(round * 200 + seconds);
                let mut head = ResponseHead::default();
                let outcome =
                    poll_fn(|cx| std::task::Poll::Ready(stream.poll_head(cx, &mut head))).await;
                assert!(outcome.is_pending(), "{outcome:?}");
            }
        }
        stream.finish(None);
        assert_eq!(head(&mut stream).await.expect("an answer").status, 200);
    });
}
