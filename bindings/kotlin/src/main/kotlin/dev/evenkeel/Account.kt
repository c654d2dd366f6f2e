package dev.evenkeel

import java.time.Instant

/** One device of the account. */
public data class Device(
    val id: String,
    /** Whether it is this one. */
    val current: Boolean,
    /** Its name for people. */
    val label: String?,
    /** What it runs on. */
    val platform: String?,
    val lastSeenAt: Instant?,
    val createdAt: Instant?,
    /** Since when it is shut out, if it is. */
    val revokedAt: Instant?,
) {
    internal constructor(raw: DeviceInfo) : this(
        id = raw.id,
        current = raw.current,
        label = raw.label,
        platform = raw.platform,
        lastSeenAt = raw.lastSeenAtMs?.let(Instant::ofEpochMilli),
        createdAt = raw.createdAtMs?.let(Instant::ofEpochMilli),
        revokedAt = raw.revokedAtMs?.let(Instant::ofEpochMilli),
    )
}

/** A local write that the server has not answered for. */
public data class PendingWrite(
    /** Which record. */
    val id: String,
    /** Whether it deletes the record. */
    val deletion: Boolean,
    /** It was sent, and its fate is not known. */
    val sent: Boolean,
    /** When; of several writes in one the last. */
    val writtenAt: Instant,
) {
    internal constructor(raw: CorePendingWrite) :
        this(raw.id, raw.deletion, raw.sent, Instant.ofEpochMilli(raw.writtenAtMs))
}
