//! What an operator does about each cause: the runbook as data.

/// The explanation, and the next steps in their order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    pub(crate) explanation: &'static str,
    pub(crate) next_steps: &'static [&'static str],
}

pub(crate) const REDIS: Advice = Advice {
    explanation: "Redis is away or unstable. Readiness requires it; tickets cannot be used up without it, \
        so streams do not open, and the edge shows that as upstream_5xx.",
    next_steps: &[
        "Restore Redis first: its process, memory, connections, and the way from the origin to it.",
        "Confirm that /ready is 200 with every dependency healthy.",
        "Confirm ticket, then stream: recovery-check handshake.",
        "Confirm the recovery: recovery-check verify.",
    ],
};

pub(crate) const TICKET_STORE: Advice = Advice {
    explanation: "Tickets cannot be used up, so streams do not open; pulls and pushes may still work.",
    next_steps: &[
        "Restore the tickets' store (Redis) first.",
        "Confirm ticket, then stream: recovery-check handshake.",
    ],
};

pub(crate) const REALTIME: Advice = Advice {
    explanation: "Announcements stay within one process of the origin; clients on others hear late.",
    next_steps: &[
        "Look at the origin's publisher and subscriber connections to Redis.",
        "Confirm that /ready shows realtime as distributed again.",
    ],
};

pub(crate) const DATABASE: Advice = Advice {
    explanation: "The origin's database is away. Every pull and push fails until it is back.",
    next_steps: &[
        "Recover the database before recycling app instances: new ones would fail the same way.",
        "Look at its connections, locks, disk and migrations.",
        "Confirm that /ready is 200 with every dependency healthy, then recovery-check verify.",
    ],
};

pub(crate) const ORIGIN_UNCONFIGURED: Advice = Advice {
    explanation: "The edge does not know its origin: runtime configuration or deploy mismatch.",
    next_steps: &[
        "Re-render the server's environment.",
        "Validate the edge's variables (the origin's URL above all).",
        "Redeploy the edge, then recovery-check verify.",
    ],
};

pub(crate) const KV: Advice = Advice {
    explanation: "The edge's session storage (KV) does not answer.",
    next_steps: &[
        "Look at the KV namespace's status and at the edge's binding to it.",
        "Confirm that kv_unavailable stops rising, then recovery-check verify.",
    ],
};

pub(crate) const SECRETS: Advice = Advice {
    explanation: "The edge's encryption secrets are not usable, or do not open what was stored.",
    next_steps: &[
        "Validate KEY_ENCRYPTION_SECRET and KEY_ENCRYPTION_SECRET_PREV on the edge.",
        "If a rotation is under way: put the previous secret back as the overlap, and redeploy.",
        "Confirm that decryptFailures stands still.",
    ],
};

pub(crate) const AUTH_CONFIG: Advice = Advice {
    explanation: "The edge's sign-in configuration is missing, partial or invalid.",
    next_steps: &[
        "Validate the sign-in (Clerk) variables of the edge.",
        "Redeploy the edge, then sign in once.",
    ],
};

pub(crate) const PATH: Advice = Advice {
    explanation: "The edge cannot reach the origin, or gets no answer in time: the path.",
    next_steps: &[
        "Check reachability of the origin from the edge: DNS, TCP, TLS, firewall.",
        "Check that the origin's process listens and answers.",
        "Then confirm that the circuit closes, then confirm ticket, then stream: recovery-check verify.",
    ],
};

pub(crate) const ORIGIN_FROM_HERE: Advice = Advice {
    explanation: "The origin cannot be reached from here, though the edge reaches it.",
    next_steps: &[
        "Run this on the origin's host, or give the --origin URL that is right for this host.",
        "Check DNS, TLS and firewall between this host and the origin.",
    ],
};

pub(crate) const EDGE_UNREACHABLE: Advice = Advice {
    explanation: "The edge itself cannot be reached from here.",
    next_steps: &[
        "Check DNS, TLS and firewall between this host and the edge.",
        "Look at the edge's deploy and at its provider's status page.",
    ],
};

pub(crate) const NOT_THE_SERVICE: Advice = Advice {
    explanation: "Something that is not the service answers in its place: a CDN's page, a captive \
        portal, a wrong host, a wrong route.",
    next_steps: &[
        "Check the URL, the route and the CDN in front of it.",
        "Ask again from the service's own machine.",
    ],
};

pub(crate) const CERTIFICATE: Advice = Advice {
    explanation: "The certificate is not one that clients trust.",
    next_steps: &[
        "Renew the certificate, with its chain, for this name.",
        "Check this host's clock.",
    ],
};

pub(crate) const CERTIFICATE_ENDS: Advice = Advice {
    explanation: "The certificate ends soon; from then on no client connects.",
    next_steps: &["Renew the certificate, and find out why it was not renewed by itself."],
};

pub(crate) const NOT_READY: Advice = Advice {
    explanation: "The origin says that it is not ready, without a dependency to blame.",
    next_steps: &[
        "Read the origin's logs from its start on.",
        "Check its migrations.",
    ],
};

pub(crate) const READY_SILENT: Advice = Advice {
    explanation: "The origin answers, but not when it is asked whether it is ready: a check of a \
        dependency hangs.",
    next_steps: &[
        "Look at Redis first, then at the database: a connection that hangs holds the check.",
        "Read the origin's logs around its /ready.",
        "Confirm that /ready is 200 with every dependency healthy, then recovery-check verify.",
    ],
};

pub(crate) const OTHER_CAUSE: Advice = Advice {
    explanation: "The edge fails towards the origin for a cause that this version of recovery-check does not know.",
    next_steps: &[
        "Read the edge's logs for this cause.",
        "Compare the deployed versions of edge and origin with this tool's.",
        "Then confirm that the circuit closes: recovery-check verify.",
    ],
};

pub(crate) const UPSTREAM_5XX: Advice = Advice {
    explanation: "The API is up but unhealthy: it answers 5xx.",
    next_steps: &[
        "Read the origin's logs around the failing requests.",
        "Check the database, Redis and migrations.",
        "Then confirm that the circuit closes: recovery-check verify.",
    ],
};

pub(crate) const CIRCUIT: Advice = Advice {
    explanation: "Earlier failures tripped the edge's circuit; it rejects without asking the origin.",
    next_steps: &[
        "Fix the root: what tripped it.",
        "Confirm that a successful upstream answer closes it: recovery-check verify.",
    ],
};

pub(crate) const RATE_LIMITED: Advice = Advice {
    explanation: "This client is over the rate limit.",
    next_steps: &[
        "Wait for the time that was named, then look again.",
        "Find what sends so much as this user.",
    ],
};

pub(crate) const ACCOUNT: Advice = Advice {
    explanation: "The service refuses this token or device; that says nothing about other users.",
    next_steps: &["Get a new token for the probe's user and look again."],
};

pub(crate) const OTHER_REFUSAL: Advice = Advice {
    explanation: "The service refuses a plain pull.",
    next_steps: &[
        "Compare the deployed versions of edge and origin.",
        "Read the origin's logs.",
    ],
};

pub(crate) const PROVIDER: Advice = Advice {
    explanation: "The AI provider's incident: AI calls fail, sync is not affected.",
    next_steps: &[
        "Look at the AI provider's status page.",
        "Keep retries bounded; do not raise them.",
        "Communicate degraded mode for AI features.",
    ],
};

pub(crate) const EARLIER: Advice = Advice {
    explanation: "Failures since the edge's start that do not rise any more.",
    next_steps: &["Nothing now; recovery-check verify confirms that they stand still."],
};

pub(crate) const RESTARTED: Advice = Advice {
    explanation: "The edge's counters fell: it was restarted or redeployed, which is not a recovery.",
    next_steps: &["Look again in a minute: counters begin anew."],
};
