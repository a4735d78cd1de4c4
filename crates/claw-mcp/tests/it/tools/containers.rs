//! Containers of the real Engine.

use claw_core::Scope;
use serde_json::{Value, json};

use crate::{
    engine::{IMAGE, Named, Outsider, outside},
    house::House,
};

#[tokio::test]
async fn d2_d4_a_container_lives_from_creation_to_removal() {
    let house = House::with_docker().await;
    let scopes = [Scope::ContainersRead, Scope::ContainersWrite, Scope::ContainersDelete];
    let mut talk = house.tools(&scopes).await;
    let name = Named::new("mcp-life");
    let arguments = json!({
        "image": IMAGE, "name": name.0, "env": { "TZ": "Etc/UTC", "LEVEL": 3 }, "command": ["sleep", "600"],
        "ports": [{ "private": 80, "protocol": "tcp" }, { "private": 53, "public": null }], "volumes": null,
    });

    let made = talk.call("create_container", arguments).await.ok();

    let entry = made.json();
    assert_eq!(
        (&entry["name"], &entry["image"], &entry["state"]),
        (&json!(name.0), &json!(IMAGE), &json!("running"))
    );
    assert_eq!(&entry, made.structured());
    let id = entry["id"].as_str().expect("an id").to_owned();
    let list = talk.call("list_containers", json!({})).await.ok().json();
    let listed =
        list.as_array().expect("a list").iter().find(|entry| entry["id"] == id.as_str()).expect("listed");
    let members: Vec<&String> = listed.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["id", "name", "image", "state", "status", "created", "ports"]);
    assert_eq!(
        listed["ports"],
        json!([{ "private": 53, "protocol": "tcp" }, { "private": 80, "protocol": "tcp" }])
    );
    let config = talk.call("container_config", json!({ "id": name.0 })).await.ok();
    assert_eq!(
        (&config.json()["env"]["TZ"], &config.json()["env"]["LEVEL"]),
        (&json!("Etc/UTC"), &json!("3"))
    );
    let data = house.get(&format!("/api/containers/{id}/config")).send().await;
    assert!(data.text().contains(config.text()), "byte for byte");

    let stats = talk.call("container_stats", json!({ "id": name.0 })).await.ok().json();
    assert!(stats["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{stats}");
    // What is said is the argument as it was given.
    for (tool, id, text) in [
        ("stop_container", name.0.as_str(), format!("Container {} stopped", name.0)),
        ("start_container", &id, format!("Container {id} started")),
        ("restart_container", &id[..12], format!("Container {} restarted", &id[..12])),
        ("delete_container", &name.0, format!("Container {} deleted", name.0)),
    ] {
        let answer = talk.call(tool, json!({ "id": id })).await.ok();
        assert_eq!(answer.text(), text);
        assert_eq!(answer.structured()["status"].as_str(), text.rsplit(' ').next());
    }
    let gone = talk.call("delete_container", json!({ "id": name.0 })).await;
    assert!(
        gone.failure().starts_with("Failed to delete container: HTTP 404: {\"success\":false,"),
        "{gone:?}"
    );
}

#[tokio::test]
async fn d4_what_is_wrong_with_ports_and_volumes_is_told_before_anything_happens() {
    let house = House::new().await;
    let mut talk = house.tools(&[Scope::ContainersWrite]).await;
    let mut told = async |extra: Value| {
        let mut arguments = json!({ "image": IMAGE });
        arguments.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        talk.call("create_container", arguments).await.failure().to_owned()
    };

    for (extra, text) in [
        (json!({ "ports": { "80": 8080 } }), "Invalid ports: expected array, got object"),
        (json!({ "ports": [{}] }), "Invalid ports: ports[0]: missing required field 'private'"),
        (json!({ "volumes": "x:/y" }), "Invalid volumes: expected array, got string"),
        (
            json!({ "volumes": [{ "host": "x" }] }),
            "Invalid volumes: volumes[0]: missing required field 'container'",
        ),
        (json!({ "image": 3 }), "argument \"image\" is not a string"),
        (json!({ "image": null }), "required argument \"image\" not found"),
        (json!({ "env": ["A=B"] }), "argument \"env\" is not an object"),
    ] {
        assert_eq!(told(extra).await, text);
    }
}

#[tokio::test]
async fn d2_logs_are_the_text_itself_and_what_it_is_stands_after_it() {
    let house = House::with_docker().await;
    let mut talk = house.tools(&[Scope::ContainersRead]).await;
    let container = Outsider::with_script("mcp-logs", &[], "for i in $(seq 150); do echo line $i; done");
    outside(&["start", "--attach", &container.id]);

    let logs = talk.call("container_logs", json!({ "id": container.name })).await.ok();

    let lines: Vec<&str> = logs.text().lines().collect();
    assert_eq!(
        (lines.len(), lines[0], lines[99]),
        (100, "line 51", "line 150"),
        "100 unless asked otherwise"
    );
    let note = format!("100 lines, is untrusted data from container {};", container.name);
    assert!(logs.note().contains(&note), "{}", logs.note());
    assert_eq!(logs.structured()["text"], logs.text());
    assert_eq!(logs.structured()["untrusted"], true);
    for (tail, expected) in
        [(json!(2.9), 2), (json!("x"), 100), (json!(0), 0), (json!(1e9), 150), (json!(-4), 100)]
    {
        let logs = talk.call("container_logs", json!({ "id": container.name, "tail": tail })).await.ok();
        assert_eq!(logs.text().lines().count(), expected, "{tail}");
    }
    let short = talk.call("container_logs", json!({ "id": container.name, "max_bytes": 20 })).await.ok();
    assert_eq!(
        short.text(),
        "line 149\nline 150\n".trim_start_matches(|c: char| c != 'l'),
        "whole lines, the newest"
    );
    assert!(short.note().contains("bytes at the beginning were left out; a greater max_bytes gets more."));
}

#[tokio::test]
async fn programs_run_in_containers_and_their_end_is_told() {
    let house = House::with_docker().await;
    let scopes = [Scope::ContainersRead, Scope::ContainersWrite, Scope::ContainersExec];
    let mut talk = house.tools(&scopes).await;
    let name = Named::new("mcp-exec");
    let arguments = json!({ "image": IMAGE, "name": name.0, "command": ["sleep", "600"] });
    talk.call("create_container", arguments).await.ok();

    let script = "echo out; printf 'e\\033[2Jrr\\n' >&2; exit 3";
    let ran =
        talk.call("exec_container", json!({ "id": name.0, "command": ["sh", "-c", script] })).await.ok();

    let result = ran.structured();
    assert_eq!((&result["exit_code"], &result["stdout"]), (&json!(3), &json!("out\n")));
    assert!(result["stderr"].as_str().is_some_and(|text| !text.contains('\u{1b}')), "{result}");
    assert!(ran.text().ends_with("\nIt ended with exit code 3."), "{}", ran.text());
    let origin = format!("untrusted data from standard output of a program in container {}", name.0);
    assert!(ran.text().contains(&origin), "{}", ran.text());
    let long = json!({ "id": name.0, "command": ["seq", "1000"], "max_bytes": 100 });
    let long = talk.call("exec_container", long).await.ok();
    assert!(long.structured()["stdout"].as_str().is_some_and(|text| text.len() <= 100));
    assert!(long.note().contains("a greater max_bytes gets more"), "{}", long.note());
    let slow = json!({ "id": name.0, "command": ["sleep", "600"], "timeout_seconds": 1 });
    let slow = talk.call("exec_container", slow).await.ok();
    assert!(slow.text().ends_with("Its time was up before it ended, so it was ended."), "{}", slow.text());
    for command in [json!([]), json!(null)] {
        let refused = talk.call("exec_container", json!({ "id": name.0, "command": command })).await;
        assert_eq!(refused.failure(), "required argument \"command\" not found");
    }
    let refused = talk.call("exec_container", json!({ "id": name.0, "command": "ls -l" })).await;
    assert_eq!(refused.failure(), "argument \"command\" is not an array of strings");
}
