"""The verbs of servers that take several steps, as users ask for them."""

import threading


def attach(cloud, server_id, network):
    """Ask for a card without waiting for it: the waiting is the API's, the saga is what counts."""
    answers = []
    asking = threading.Thread(target=lambda: answers.append(cloud.ask(
        "POST", f"/servers/{server_id}/os-interface", {"interfaceAttachment": {"net_id": network}})))
    asking.start()
    while asking.is_alive():
        cloud.run(rounds=5)
        asking.join(0.02)
    return answers[0]


def detach(cloud, server_id, network):
    port = cloud.nics(server_id)[-1].port_id if cloud.nics(server_id) else "none"
    return cloud.ask("DELETE", f"/servers/{server_id}/os-interface/{port}")


VERBS = {
    # name: (is a server there before, ask, what it comes to: (status, cards))
    "create": (False, lambda c, s, n: c.create(n), {("ACTIVE", 1), (None, 0)}),
    "delete": (True, lambda c, s, n: c.ask("DELETE", f"/servers/{s}"), {(None, 0)}),
    "stop": (True, lambda c, s, n: c.act(s, "os-stop"), {("SHUTOFF", 1)}),
    "reboot": (True, lambda c, s, n: c.act(s, "reboot", {"type": "HARD"}), {("ACTIVE", 1)}),
    "suspend": (True, lambda c, s, n: c.act(s, "suspend"), {("SUSPENDED", 1)}),
    "attach": (True, attach, {("ACTIVE", 2)}),
    "detach": (True, detach, {("ACTIVE", 0)}),
}
