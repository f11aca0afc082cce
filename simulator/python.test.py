"""For python.test.ts: a client over XML-RPC that nobody here wrote. With "XenAPI" it is XenServer's own SDK (pip install XenAPI), with
"xmlrpc.client" the standard library's, as the documentation of the API uses it. Prints what it saw as one line of JSON."""
import json
import sys
import xmlrpc.client

kind, url, user, password = sys.argv[1:]


class Failure(Exception):
    def __init__(self, details):
        super().__init__(str(details))
        self.details = details


if kind == "XenAPI":
    import XenAPI

    Failure = XenAPI.Failure
    session = XenAPI.Session(url)
    session.xenapi.login_with_password(user, password, "1.0", "python")

    def call(method, *params):
        return session.xenapi_request(method, params)
else:
    server = xmlrpc.client.ServerProxy(url)

    def plain(method, *params):
        answer = getattr(server, method)(*params)
        if answer["Status"] != "Success":
            raise Failure(answer["ErrorDescription"])
        return answer["Value"]

    handle = plain("session.login_with_password", user, password, "1.0", "python")

    def call(method, *params):
        return plain(method, handle, *params)


def wait(task):
    token = ""
    while True:
        batch = call("event.from", ["task/" + task], token, 30.0)
        token = batch["token"]
        for event in batch["events"]:
            if event["snapshot"]["status"] != "pending":
                call("task.destroy", task)
                return event["snapshot"]


def refused(method, *params):
    try:
        return call(method, *params)
    except Failure as failure:
        return failure.details


[pool] = call("pool.get_all_records").values()
names = sorted(sr["name_label"] for sr in call("SR.get_all_records").values())
vdi = call("VDI.create", {
    "SR": pool["default_SR"], "name_label": "from Python: <ä> & \"quoted\"", "virtual_size": str(5 << 30), "type": "user",
    "sharable": False, "read_only": False, "other_config": {"key": "value"},
})
record = call("VDI.get_record", vdi)
copied = wait(call("Async.VDI.clone", vdi))
failed = wait(call("Async.VDI.clone", "OpaqueRef:none"))
copy = xmlrpc.client.loads("<params><param>%s</param></params>" % copied["result"])[0][0]
same = call("VDI.get_name_label", copy) == record["name_label"]
for disk in (vdi, copy):
    call("VDI.destroy", disk)
gone = refused("VDI.get_uuid", vdi)
counts = call("event.from", ["vdi"], "", 1.0)["valid_ref_counts"]
call("session.logout")
print(json.dumps({
    "srs": names, "vdi": vdi, "name": record["name_label"], "size": record["virtual_size"], "managed": record["managed"],
    "config": record["other_config"], "time": str(record["snapshot_time"]), "vbds": record["VBDs"],
    "clone": [copied["status"], copied["progress"], same], "failure": [failed["status"], failed["error_info"]],
    "gone": gone, "vdis": counts["vdi"],
}))
