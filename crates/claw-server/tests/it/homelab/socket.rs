//! The feed as it happens, over real sockets.

use std::{net::SocketAddr, time::Duration};

use claw_core::Scope;
use claw_homelab::{EventKind, EventStatus, NewEvent};
use claw_server::ConnectionLimits;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest as _, handshake::client::Request},
};
use tokio_util::sync::CancellationToken;

use crate::lab::{Lab, PATIENCE, until};

/// A server on a socket.
struct Served {
    lab: Lab,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

type Socket = WebSocketStream<TcpStream>;

impl Served {
    async fn new() -> Self {
        Self::within(ConnectionLimits::default()).await
    }

    async fn within(limits: ConnectionLimits) -> Self {
        let lab = Lab::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let serving =
            tokio::spawn(claw_server::serve_within(listener, lab.router.clone(), limits, stop.clone()));
        Self { lab, address, stop, serving }
    }

    fn request(&self, query: &str, headers: &[(&'static str, &str)]) -> Request {
        let url = format!("ws://{}/api/ws/activity{query}", self.address);
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header value"));
        }
        request
    }

    async fn open(&self, query: &str, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
        let stream = TcpStream::connect(self.address).await.expect("the server accepts");
        self.open_on(stream, query, headers).await
    }

    async fn open_on(
        &self,
        stream: TcpStream,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, u16> {
        let opened = tokio_tungstenite::client_async(self.request(query, headers), stream);
        match timeout(PATIENCE, opened).await.expect("an answer in time") {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn follow(&self, query: &str) -> Socket {
        self.open(query, &[("x-api-key", &self.lab.admin)]).await.expect("a socket")
    }

    /// Does something that is told of.
    async fn act(&self, number: usize) {
        self.lab.get(&format!("/api/containers/templates/t{number}")).send().await;
    }
}

async fn event(socket: &mut Socket) -> Option<Value> {
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("a message in time") {
            Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

async fn targets(socket: &mut Socket, count: usize) -> Vec<String> {
    let mut targets = Vec::new();
    while targets.len() < count {
        let event = event(socket).await.expect("another event");
        let target = event["target"].as_str().expect("a target");
        // That somebody opened a socket is told of too.
        if target != "/api/ws/activity" {
            targets.push(target.rsplit('/').next().expect("a name").to_owned());
        }
    }
    targets
}

#[tokio::test]
async fn events_arrive_as_they_happen_one_json_object_a_message() {
    let served = Served::new().await;
    served.act(0).await;
    let mut socket = served.follow("").await;

    served.act(1).await;
    let mut told = event(&mut socket).await.expect("an event");
    if told["target"] == "/api/ws/activity" {
        told = event(&mut socket).await.expect("an event");
    }

    assert_eq!(
        (&told["type"], &told["target"]),
        (&"api_call".into(), &"/api/containers/templates/t1".into())
    );
    assert!(told["seq"].is_u64() && told["id"].as_str().is_some_and(|id| id.len() == 16), "{told}");
}

#[tokio::test]
async fn a_viewer_that_comes_back_goes_on_where_it_was() {
    let served = Served::new().await;
    for number in 0..100 {
        served.act(number).await;
    }
    let page = served.lab.get("/api/activity?limit=3").send().await.data();
    let seen = page["events"][0]["seq"].as_u64().expect("a place");

    let mut all = served.follow("?after=0").await;
    let mut some = served.follow(&format!("?after={seen}")).await;
    // From before the store was replaced: nothing to go on from, so it goes on from now.
    let mut beyond = served.follow("?after=999999").await;
    served.act(100).await;

    let expected: Vec<_> = (0..100).map(|number| format!("t{number}")).collect();
    assert_eq!(targets(&mut all, 100).await, expected);
    assert_eq!(targets(&mut some, 2).await, ["t98", "t99"]);
    let last = event(&mut beyond).await.expect("what happens now");
    // The look at the list and the two other sockets may be told of before.
    assert!(last["seq"].as_u64() > Some(100), "{last}");
}

#[tokio::test]
async fn a7_a_browser_opens_the_socket_with_a_ticket_that_is_good_once() {
    let served = Served::new().await;
    let ticket = served.lab.post("/api/ws/ticket", Value::Null).send().await.data();
    assert!(ticket["expires_in"].as_u64().is_some_and(|seconds| seconds <= 60));
    let query = format!("?ticket={}", ticket["ticket"].as_str().expect("a ticket"));

    let mut socket = served.open(&query, &[]).await.expect("a socket");
    served.act(1).await;

    assert!(event(&mut socket).await.is_some());
    assert_eq!(served.open(&query, &[]).await.err(), Some(401), "used");
    assert_eq!(served.open("?ticket=x", &[]).await.err(), Some(401));
    assert_eq!(served.open("", &[]).await.err(), Some(401));
    let reader = served.lab.key(&[Scope::ContainersRead]).await;
    let refused = served.lab.post("/api/ws/ticket", Value::Null).key(&reader).send().await;
    refused.assert_enveloped(403, "SCOPE_REQUIRED");
}

#[tokio::test]
async fn a7_a9_who_may_not_see_the_feed_gets_no_socket_and_neither_does_a_page_of_others() {
    let served = Served::new().await;
    let (viewer, other) =
        (served.lab.key(&[Scope::SystemRead]).await, served.lab.key(&[Scope::ContainersRead]).await);

    assert!(served.open("", &[("x-api-key", &viewer)]).await.is_ok());
    assert!(served.open(&format!("?key={}", viewer.replace('=', "%3D")), &[]).await.is_ok());
    assert_eq!(served.open("", &[("x-api-key", &other)]).await.err(), Some(403));
    assert_eq!(served.open(&format!("?key={other}"), &[]).await.err(), Some(403));
    assert_eq!(served.open("?key=wag_live_wrong", &[]).await.err(), Some(401));
    // A wrong header counts, whatever stands in the address.
    let both = format!("?key={viewer}");
    assert_eq!(served.open(&both, &[("x-api-key", "wag_live_wrong")]).await.err(), Some(401));
    let evil = [("x-api-key", viewer.as_str()), ("origin", "https://evil.example")];
    assert_eq!(served.open("", &evil).await.err(), Some(403));
    assert_eq!(served.open(&both, &[("origin", "https://evil.example")]).await.err(), Some(403));
    let ours = [("x-api-key", viewer.as_str()), ("origin", "https://ui.example")];
    assert!(served.open("", &ours).await.is_ok());
}

#[tokio::test]
async fn a_socket_ends_with_its_key() {
    let served = Served::new().await;
    let made = served.lab.post("/api/keys", json!({ "scopes": ["system:read"] })).send().await.data();
    let (key, id) = (made["key"].as_str().expect("a key"), made["meta"]["id"].as_str().expect("an id"));
    let mut socket = served.open("", &[("x-api-key", key)]).await.expect("a socket");

    served.lab.delete(&format!("/api/keys/{id}")).send().await.data();

    while event(&mut socket).await.is_some() {}
}

#[tokio::test]
async fn what_a_viewer_says_is_not_read_and_a_flood_of_it_ends_it_alone() {
    let served = Served::new().await;
    let (mut polite, mut loud) = (served.follow("").await, served.follow("").await);

    polite.send(Message::text("{\"type\":\"key_action\"}")).await.expect("taken");
    polite.send(Message::binary(vec![0; 100])).await.expect("taken");
    // It may be gone before all of it was sent.
    let _ = loud.send(Message::text("x".repeat(1 << 20))).await;
    served.act(7).await;

    assert_eq!(targets(&mut polite, 1).await, ["t7"]);
    while event(&mut loud).await.is_some() {}
}

#[tokio::test]
async fn c6_a_viewer_that_takes_nothing_is_dropped_and_keeps_nobody_waiting() {
    let limits = ConnectionLimits { write_time: Duration::from_millis(500), ..ConnectionLimits::default() };
    let served = Served::within(limits).await;
    let mut good = served.follow("").await;
    // With next to no room on its side, so that it is full soon.
    let small = TcpSocket::new_v4().expect("a socket");
    small.set_recv_buffer_size(1024).expect("set");
    let stream = small.connect(served.address).await.expect("the server accepts");
    let key = served.lab.admin.clone();
    let stuck = served.open_on(stream, "", &[("x-api-key", &key)]).await.expect("a socket");
    let activity = served.lab.homelab.activity.clone();
    assert_eq!(activity.viewers(), 2);

    // More than the system's own buffers hold.
    let long: Vec<_> = (0..40).map(|_| "x".repeat(200)).collect();
    let record = |target: &str| {
        activity.record(NewEvent {
            kind: EventKind::AppAction,
            action: "start".into(),
            target: target.to_owned(),
            status: EventStatus::Success,
            agent: "test".into(),
            actor: "system".into(),
            details: Some(json!(long)),
            scope: None,
        });
    };
    let writing = async {
        while activity.viewers() == 2 {
            for _ in 0..50 {
                record("on and on");
            }
            activity.settled().await;
        }
        record("end");
    };
    let reading =
        async { while event(&mut good).await.expect("the good viewer is served")["target"] != "end" {} };
    timeout(PATIENCE * 3, async { tokio::join!(reading, writing) }).await.expect("the other one is dropped");
    assert_eq!(activity.viewers(), 1);
    drop(stuck);
}

#[tokio::test]
async fn sockets_end_with_the_server() {
    let served = Served::new().await;
    let mut socket = served.follow("").await;

    served.stop.cancel();

    while event(&mut socket).await.is_some() {}
    let ended = timeout(PATIENCE, served.serving).await.expect("the server ends in time");
    ended.expect("no panic").expect("it ends well");
}

#[tokio::test]
async fn many_viewers_see_what_happens() {
    let served = Served::new().await;
    let mut sockets = Vec::new();
    for _ in 0..200 {
        sockets.push(served.follow("").await);
    }

    served.act(1).await;

    for socket in &mut sockets {
        assert_eq!(targets(socket, 1).await, ["t1"]);
    }
    drop(sockets);
    until(async || served.lab.homelab.activity.viewers() == 0).await;
}
