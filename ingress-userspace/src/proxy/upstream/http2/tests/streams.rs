use super::*;

#[test]
fn a_request_and_its_answer_keep_their_trailers() {
    run(async {
        let (address, _) = server(plain, |(mut request, mut respond)| async move {
            assert_eq!(request.uri().to_string(), "http://a.example/pkg.Service/Method?x");
            assert_eq!(request.headers()["te"], "trailers");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let mut body = Vec::new();
            while let Some(data) = request.body_mut().data().await {
                let data = data.expect("it comes whole");
                request.body_mut().flow_control().release_capacity(data.len()).expect("taken");
                body.extend(data);
            }
            let trailers = request.body_mut().trailers().await.expect("they come");
            assert_eq!(trailers.expect("some")["x-sum"], "5");
            let response = Response::builder().header("X-Own", "1").body(()).expect("plain");
            let mut answer = respond.send_response(response, false).expect("it is there");
            answer.send_data(body.into(), false).expect("it is there");
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().expect("a value"));
            answer.send_trailers(trailers).expect("it is there");
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.open(address).await.expect("it listens");
        let mut head_of_request = request("/pkg.Service/Method?x", BodyLength::Unknown);
        head_of_request.fields.push(b"Content-Type", b"application/grpc");
        stream.start(&head_of_request);
        write(&mut stream, b"hello").await.expect("it is taken");
        let mut trailers = Fields::default();
        trailers.push(b"X-Sum", b"5");
        stream.finish(Some(&trailers));
        let head = head(&mut stream).await.expect("an answer");
        assert_eq!((head.status, head.body), (200, BodyLength::Unknown));
        assert_eq!(head.fields.get_named(b"x-own"), Some(&b"1"[..]));
        assert!(stream.trailers().is_none());
        assert_eq!(read(&mut stream).await.expect("whole"), b"hello");
        let trailers = stream.trailers().expect("some");
        assert_eq!(trailers.get(Known::GrpcStatus), Some(&b"0"[..]));
        assert_eq!(part(&mut stream).await, Ok(None), "the end is repeated");
    });
}

#[test]
fn an_answer_of_trailers_alone_ends_with_its_head() {
    run(async {
        let (address, _) = server(plain, |(_, mut respond)| async move {
            let response = Response::builder().header("grpc-status", "12").body(());
            respond.send_response(response.expect("plain"), true).expect("it is there");
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::Exact(0)).await;
        let head = head(&mut stream).await.expect("an answer");
        assert_eq!(head.body, BodyLength::Exact(0));
        assert_eq!(head.fields.get(Known::GrpcStatus), Some(&b"12"[..]));
        assert_eq!(part(&mut stream).await, Ok(None));
    });
}

#[test]
fn both_directions_flow_at_once() {
    run(async {
        let (address, _) = server(plain, |(mut request, mut respond)| async move {
            let mut answer = respond.send_response(Response::new(()), false).expect("it is there");
            while let Some(Ok(data)) = request.body_mut().data().await {
                request.body_mut().flow_control().release_capacity(data.len()).expect("taken");
                answer.send_data(data, false).expect("it is there");
            }
            answer.send_data(Bytes::new(), true).expect("it is there");
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::Unknown).await;
        head(&mut stream).await.expect("an answer before the request ends");
        for round in 0..100_u32 {
            let message = round.to_be_bytes();
            write(&mut stream, &message).await.expect("it is taken");
            assert_eq!(part(&mut stream).await, Ok(Some(message.to_vec())));
        }
        stream.finish(None);
        assert_eq!(part(&mut stream).await, Ok(None));
    });
}

#[test]
fn interim_answers_come_first() {
    run(async {
        let (address, _) = server(plain, |(_, mut respond)| async move {
            for link in ["</a>", "</b>"] {
                let hints = Response::builder().status(103).header("link", link).body(());
                respond.send_informational(hints.expect("plain")).expect("it is there");
            }
            respond.send_response(Response::new(()), true).expect("it is there");
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::None).await;
        let mut seen = Vec::new();
        loop {
            let head = head(&mut stream).await.expect("a head");
            seen.push((head.status, head.fields.get(Known::Link).map(<[u8]>::to_vec)));
            if !head.is_interim() {
                break;
            }
        }
        let expected = [(103, Some(b"</a>".to_vec())), (103, Some(b"</b>".to_vec())), (200, None)];
        assert_eq!(seen, expected);
    });
}

#[test]
fn a_large_answer_waits_for_its_reader() {
    const LENGTH: usize = 4 * 1024 * 1024;
    run(async {
        let sent: Rc<Cell<usize>> = Rc::default();
        let counted = Rc::clone(&sent);
        let (address, _) = server(plain, move |asked| {
            let sent = Rc::clone(&counted);
            async move {
                if asked.0.uri().path() != "/large" {
                    return ok(asked).await;
                }
                let mut respond = asked.1;
                let mut answer =
                    respond.send_response(Response::new(()), false).expect("it is there");
                assert!(send(&mut answer, vec![7; LENGTH].into(), &sent).await);
                answer.send_data(Bytes::new(), true).expect("it is there");
            }
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/large", BodyLength::None).await;
        head(&mut stream).await.expect("an answer");
        // Other streams of the same connection go on, and show that no more comes.
        let window = super::super::connection::WINDOW as usize;
        while sent.get() < window {
            bench.get(address, "/").await.expect("an answer");
        }
        for _ in 0..20 {
            assert_eq!(bench.get(address, "/").await.expect("an answer"), b"ok");
        }
        assert_eq!(sent.get(), window);
        assert_eq!(bench.pool.len(), 1);
        let mut buffer = Buffers::default().take();
        let mut received = 0;
        loop {
            match poll_fn(|cx| stream.poll_body(cx, &mut buffer)).await.expect("whole") {
                Read::End => break,
                Read::Data => {
                    received += buffer.len();
                    buffer.consume(buffer.len());
                    assert!(sent.get() <= received + window, "{} {received}", sent.get());
                }
            }
        }
        assert_eq!(received, LENGTH);
    });
}

#[test]
fn a_full_buffer_is_no_end() {
    run(async {
        let (address, _) = server(plain, |(_, mut respond)| async move {
            let mut answer = respond.send_response(Response::new(()), false).expect("it is there");
            send(&mut answer, vec![7; 40 * 1024].into(), &Cell::new(0)).await;
            answer.send_data(Bytes::new(), true).expect("it is there");
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::None).await;
        head(&mut stream).await.expect("an answer");
        let mut buffer = Buffers::default().take();
        while !buffer.room().is_empty() {
            poll_fn(|cx| stream.poll_body(cx, &mut buffer)).await.expect("whole");
        }
        assert_eq!(poll_fn(|cx| stream.poll_body(cx, &mut buffer)).await, Ok(Read::Data));
        let length = buffer.len();
        assert_eq!(length + read(&mut stream).await.expect("whole").len(), 40 * 1024);
    });
}

#[test]
fn a_large_request_waits_for_its_reader() {
    const LENGTH: usize = 4 * 1024 * 1024;
    run(async {
        let go = Rc::new(tokio::sync::Notify::new());
        let wait = Rc::clone(&go);
        let (address, _) = server(plain, move |(mut request, mut respond)| {
            let wait = Rc::clone(&wait);
            async move {
                wait.notified().await;
                let mut received = 0;
                while let Some(data) = request.body_mut().data().await {
                    let length = data.expect("it comes whole").len();
                    received += length;
                    request.body_mut().flow_control().release_capacity(length).expect("taken");
                }
                let status = if received == LENGTH { 200 } else { 500 };
                let response = Response::builder().status(status).body(()).expect("plain");
                respond.send_response(response, true).expect("it is there");
            }
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::Exact(LENGTH as u64)).await;
        let data = vec![7; LENGTH];
        let mut accepted = 0;
        poll_fn(|cx| {
            while let std::task::Poll::Ready(length) = stream.poll_write(cx, &data[accepted..]) {
                accepted += length.expect("it is taken");
            }
            std::task::Poll::Ready(())
        })
        .await;
        assert!(accepted <= 65_535, "the endpoint's window, {accepted}");
        go.notify_one();
        write(&mut stream, &data[accepted..]).await.expect("it is taken");
        stream.finish(None);
        assert_eq!(head(&mut stream).await.expect("an answer").status, 200);
    });
}

#[test]
fn an_endpoint_may_answer_without_the_rest_of_the_body() {
    run(async {
        let (address, _) = server(plain, |(request, mut respond)| async move {
            let response = Response::builder().status(413).body(()).expect("plain");
            let mut answer = respond.send_response(response, false).expect("it is there");
            answer.send_data(Bytes::from_static(b"too large"), true).expect("it is there");
            // Dropped unread: the server resets with NO_ERROR.
            drop(request);
        })
        .await;
        let bench = Bench::new();
        let mut stream = bench.ask(address, "/", BodyLength::Exact(1 << 30)).await;
        let data = vec![7; 64 * 1024];
        for _ in 0..64 {
            write(&mut stream, &data).await.expect("it is taken and thrown away");
        }
        assert_eq!(head(&mut stream).await.expect("an answer").status, 413);
        assert_eq!(read(&mut stream).await.expect("whole"), b"too large");
    });
}
