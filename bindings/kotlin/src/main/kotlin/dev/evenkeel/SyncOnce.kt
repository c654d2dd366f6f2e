package dev.evenkeel

/** What [Evenkeel.syncOnce] did: how many changes of the server were applied, and how things stood at its end. */
public data class SyncReport(val changesApplied: Long, val status: SyncStatus)

/** [Evenkeel.syncOnce] did not reach its goal. The client goes back to what it was doing before. */
public class SyncOnceException internal constructor(core: CoreSyncOnceException) : Exception(core.message, core) {
    /** Why. */
    public val reason: Reason

    /** How things stood, for [Reason.DEADLINE] and [Reason.FAILED]. */
    public val status: SyncStatus?

    init {
        val (why, stood) = when (core) {
            is CoreSyncOnceException.Deadline -> Reason.DEADLINE to core.status
            is CoreSyncOnceException.Failed -> Reason.FAILED to core.status
            is CoreSyncOnceException.Interrupted -> Reason.INTERRUPTED to null
            is CoreSyncOnceException.Closed -> Reason.CLOSED to null
            is CoreSyncOnceException.Cancelled, is CoreSyncOnceException.Internal -> Reason.INTERNAL to null
        }
        reason = why
        status = stood?.let { SyncStatus(it) }
    }

    /** Why a client did not come up to date. */
    public enum class Reason {
        /** The deadline came first. What was applied until then stays; try at the next occasion. */
        DEADLINE,

        /**
         * A failure stands in the way, and the next attempt would come after the deadline, or only the app can do
         * something: the status says what. Try at the next occasion.
         */
        FAILED,

        /** The client was stopped or suspended meanwhile. */
        INTERRUPTED,

        /** The client was closed. Open another one. */
        CLOSED,

        /** A fault in the library. Report it. */
        INTERNAL,
    }
}
