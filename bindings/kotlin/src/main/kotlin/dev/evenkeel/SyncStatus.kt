package dev.evenkeel

import java.time.Instant
import kotlin.time.ComparableTimeMark
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/**
 * One consistent picture of the client.
 *
 * @property version rises with each status.
 * @property state where the data stands.
 * @property lifecycle whether the client is at work. The state of one that is not is its last one.
 * @property syncsHere whether this client syncs; otherwise another one on the same store does.
 * @property link how news reaches us.
 * @property cause why the state is `DEGRADED`; null otherwise.
 * @property layer whose fault; null unless degraded.
 * @property since since when the state is what it is.
 * @property attempt failures in a row behind the present wait; 0 when there is none.
 * @property nextAttempt when the next request goes out by itself, on a clock that the user cannot set; null when
 *   none is planned.
 * @property serverFloor until when the service asked to be left alone, on the same clock.
 * @property lastProof when `SYNCED` was last proven; null for never in this run.
 * @property pending local writes that the server has not answered for.
 * @property conflicts records with two sides waiting for a decision.
 * @property rejected writes that the server refused.
 * @property outbox how full the outbox is.
 * @property ask what only the app, or its user, can do.
 */
public data class SyncStatus(
    val version: Long,
    val state: SyncState,
    val lifecycle: Lifecycle = Lifecycle.RUNNING,
    val syncsHere: Boolean = true,
    val link: Link = Link.STREAM,
    val cause: Cause? = null,
    val layer: Layer? = null,
    val since: Instant = Instant.EPOCH,
    val attempt: Int = 0,
    val nextAttempt: ComparableTimeMark? = null,
    val serverFloor: ComparableTimeMark? = null,
    val lastProof: ComparableTimeMark? = null,
    val pending: Int = 0,
    val conflicts: Int = 0,
    val rejected: Int = 0,
    val outbox: OutboxLevel = OutboxLevel.NORMAL,
    val ask: Ask = Ask.NONE,
) {
    internal constructor(raw: CoreStatus, now: ComparableTimeMark = clock.markNow()) : this(
        version = raw.version,
        state = raw.state,
        lifecycle = raw.lifecycle,
        syncsHere = raw.syncsHere,
        link = raw.link,
        cause = raw.cause,
        layer = raw.layer,
        since = Instant.ofEpochMilli(raw.sinceMs),
        attempt = raw.attempt.toInt(),
        nextAttempt = raw.nextAttemptInMs?.let { now + it.milliseconds },
        serverFloor = raw.serverFloorMs?.let { now + it.milliseconds },
        lastProof = raw.lastProofAgoMs?.let { now - it.milliseconds },
        pending = raw.pending.toInt(),
        conflicts = raw.conflicts.toInt(),
        rejected = raw.rejected.toInt(),
        outbox = raw.outbox,
        ask = raw.ask,
    )

    /** How long until [nextAttempt] from now on, never less than nothing. Read it again to count down. */
    val nextAttemptIn: Duration?
        get() = nextAttempt?.let { (-it.elapsedNow()).coerceAtLeast(Duration.ZERO) }

    /** [nextAttemptIn] in begun seconds, each second, down to zero; null, once, where nothing is planned. */
    public fun countdown(): Flow<Duration?> = flow {
        while (true) {
            val left = nextAttemptIn
            if (left == null || left == Duration.ZERO) {
                emit(left)
                return@flow
            }
            val whole = left.inWholeSeconds.seconds
            val begun = if (left > whole) whole + 1.seconds else whole
            emit(begun)
            // To where the number changes.
            delay(left - (begun - 1.seconds))
        }
    }

    private companion object {
        val clock = TimeSource.Monotonic
    }
}
