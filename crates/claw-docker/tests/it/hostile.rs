//! Engines that answer slowly, without end, or with what is no answer.

use std::time::Duration;

use claw_docker::{DockerError, LogsQuery};
use futures_util::{StreamExt, TryStreamExt};
use tokio::{io::AsyncWriteExt, net::UnixStream};

use crate::lab::{Fake, answer, begin};

#[tokio::test]
async fn t32_an_answer_without_end_is_not_read_to_memorys_end() {
    let fake = Fake::start(async |_, mut stream: UnixStream| {
        begin(&mut stream).await?;
        let piece = vec![b' '; 1 << 16];
        loop {
            stream.write_all(&piece).await?;
        }
    });

    for error in [
        fake.docker().images().await.map(drop).expect_err("too long"),
        fake.docker().info().await.map(drop).expect_err("too long"),
        fake.docker().inspect("x").await.map(drop).expect_err("too long"),
    ] {
        assert!(
            matches!(&error, DockerError::Unreadable { message } if message.contains("longer")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn t32_a_line_without_end_is_an_error() {
    let fake = Fake::start(async |_, mut stream: UnixStream| {
        begin(&mut stream).await?;
        stream.write_all(b"{\"Type\":\"").await?;
        loop {
            stream.write_all(&[b'x'; 1 << 14]).await?;
        }
    });

    let mut events = fake.docker().events(None);
    let error = events.next().await.expect("an item").expect_err("too long");
    assert!(matches!(&error, DockerError::Unreadable { message } if message.contains("longer")), "{error:?}");
    assert!(events.next().await.is_none(), "an error is the last item");
    let error = fake.docker().pull("image").try_collect::<Vec<_>>().await.expect_err("too long");
    assert!(matches!(error, DockerError::Unreadable { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_no_json_or_too_deep_is_unreadable() {
    for body in ["hello", "[", "{\"Id\":", "[{\"Id\":7}]", &"[".repeat(100_000), "\u{0}", ""] {
        let body = body.to_owned();
        let fake = Fake::start(move |_, mut stream| {
            let body = body.clone();
            async move { answer(&mut stream, "200 OK", body.as_bytes()).await }
        });

        let error = fake.docker().images().await.expect_err("no list");

        assert!(matches!(error, DockerError::Unreadable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_stream_of_garbage_ends_with_an_error() {
    let fake = Fake::start(async |line: String, mut stream: UnixStream| {
        if line.starts_with("GET /containers/x/json") {
            return answer(&mut stream, "200 OK", br#"{"Id":"x","Config":{"Tty":false}}"#).await;
        }
        begin(&mut stream).await?;
        stream.write_all(b"\xff\xfe garbage\n{\"Type\":\"container\"}\n").await
    });
    let docker = fake.docker();

    let log = docker.logs("x", LogsQuery::default()).try_collect::<Vec<_>>().await.expect_err("no log");
    let events = docker.events(None).try_collect::<Vec<_>>().await.expect_err("no events");
    let pull = docker.pull("x").try_collect::<Vec<_>>().await.expect_err("no pull");

    for error in [log, events, pull] {
        assert!(matches!(error, DockerError::Unreadable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn b6_the_engines_reason_is_taken_from_whatever_form_it_has() {
    for (status, body, words) in [
        ("500 Oh", r#"{"message":"no space left\non device"}"#, "no space left on device"),
        ("500 Oh", r#"{"cause":"c","message":"podman says so","response":500}"#, "podman says so"),
        ("502 Bad Gateway", "<html>a proxy</html>", "a proxy"),
        ("503 Busy", "", "status 503"),
        ("403 No", r#"{"message":7}"#, "7"),
    ] {
        let fake =
            Fake::start(
                move |_, mut stream| async move { answer(&mut stream, status, body.as_bytes()).await },
            );

        let error = fake.docker().inspect("x").await.expect_err("refused");

        assert!(matches!(error, DockerError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().starts_with("the Docker Engine refused: "), "{error}");
    }
}

#[tokio::test]
async fn an_error_of_any_length_is_cut() {
    let fake = Fake::start(async |_, mut stream: UnixStream| {
        stream.write_all(b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n").await?;
        loop {
            stream.write_all(&[b'x'; 1 << 14]).await?;
        }
    });

    let error = fake.docker().images().await.expect_err("refused").to_string();

    assert!(error.starts_with("the Docker Engine refused: xxx") && error.len() < 1000, "{}", error.len());
}

#[tokio::test(start_paused = true)]
async fn t32_an_engine_that_answers_ever_so_slowly_counts_as_hanging() {
    let fake = Fake::start(async |_, mut stream: UnixStream| {
        begin(&mut stream).await?;
        loop {
            stream.write_all(b" ").await?;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });

    for error in [
        fake.docker().images().await.map(drop).expect_err("slow"),
        fake.docker().engine_version().await.map(drop).expect_err("slow"),
        fake.docker().stop("x", Duration::from_secs(3)).await.expect_err("slow"),
    ] {
        assert!(error.is_unavailable() && error.to_string().contains("no answer within 3"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_or_log_in_which_nothing_comes_any_more_ends() {
    let fake = Fake::start(async |line: String, mut stream: UnixStream| {
        if line.starts_with("GET /containers/x/json") {
            return answer(&mut stream, "200 OK", br#"{"Id":"x"}"#).await;
        }
        begin(&mut stream).await?;
        std::future::pending().await
    });

    let pull = fake.docker().pull("image").try_collect::<Vec<_>>().await.expect_err("nothing comes");
    let log = fake
        .docker()
        .logs("x", LogsQuery::default())
        .try_collect::<Vec<_>>()
        .await
        .expect_err("nothing comes");

    assert!(pull.is_unavailable() && log.is_unavailable(), "{pull:?} {log:?}");
}

#[tokio::test]
async fn what_podman_leaves_out_or_adds_is_no_reason_to_fail() {
    let fake = Fake::start(async |line: String, mut stream: UnixStream| {
        let body = match line.split(['?', ' ']).nth(1).expect("a path") {
            "/version" => {
                r#"{"Version":"5.2.0","ApiVersion":"1.41","Os":"linux","Arch":"arm64","Components":null}"#
            }
            "/info" => {
                r#"{"NCPU":4,"MemTotal":8000000000,"DockerRootDir":"/var/lib/containers/storage","Swarm":null}"#
            }
            "/images/json" => {
                r#"[{"Id":"aa","RepoTags":null,"RepoDigests":["<none>@<none>"],"Created":1,"Size":-1,"Labels":null}]"#
            }
            "/networks" => r#"[{"Name":"podman","Id":"bb","IPAM":{"Config":null},"Labels":null,"Peers":[]}]"#,
            "/volumes" => r#"{"Volumes":null,"Warnings":[]}"#,
            _ => {
                r#"{"Id":"cc","Name":"web","State":{"Status":"stopped","ExitCode":1,"Health":{"Status":""}},
                   "Config":{"Entrypoint":"sh -c","Cmd":null,"Env":["A"]},"Mounts":null,"Pod":"",
                   "NetworkSettings":{"Ports":{"80/tcp":[]},"Networks":{"podman":null}},
                   "HostConfig":{"Memory":0,"PidsLimit":2048,"CapAdd":null,"PortBindings":null}}"#
            }
        };
        answer(&mut stream, "200 OK", body.as_bytes()).await
    });
    let docker = fake.docker();

    let version = docker.engine_version().await.expect("readable");
    assert_eq!((version.os.as_str(), version.cpus), ("linux", 4));
    let image = &docker.images().await.expect("readable")[0];
    assert_eq!((image.tags.len(), image.digests.len(), image.size_bytes), (0, 0, 0));
    assert!(docker.networks().await.expect("readable")[0].subnets.is_empty());
    assert!(docker.volumes().await.expect("readable").is_empty());
    let web = docker.inspect("web").await.expect("readable");
    assert_eq!((web.entry.state.as_str(), &web.entrypoint[..]), ("stopped", &["sh -c".to_owned()][..]));
    assert_eq!((web.entry.health, web.memory_bytes, web.pids), (None, None, Some(2048)));
}
