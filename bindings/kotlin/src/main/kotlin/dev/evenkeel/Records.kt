package dev.evenkeel

import java.time.Instant
import kotlinx.serialization.SerializationException

/** A record as the app sees it. */
public data class Record<out T>(
    /** Names the record for ever. */
    val id: String,
    val value: T,
    /** The version that the server has; 0 where it has none. */
    val version: Long,
    val createdAt: Instant,
    val updatedAt: Instant,
)

/** A part of a list. */
public data class Page<out T>(
    val items: List<Record<T>>,
    /** The ids of records in this part that are no [T]: another app's, or a later version's. */
    val unreadable: List<String>,
    /** Where the next page begins; null where this is the last one. */
    val next: String?,
)

/** A local write that is durable. */
public class Write internal constructor(private val handle: WriteHandle) {
    /**
     * The server's verdict, however long that takes. It may be asked for again; to cancel the wait changes nothing
     * about the write.
     *
     * @throws DataException.Closed where none will come.
     */
    public suspend fun verdict(): Verdict = handle.verdict(null)
}

/** A record that changed here and on the server. Both sides are kept until it is resolved or written. */
public data class Conflict<out T>(
    /** Which record. */
    val id: String,
    /** What both sides began with; null where there was no such record. */
    val base: T?,
    /** What this app wants; null for a deletion. */
    val local: Record<T>?,
    /** What the server has; null where it has no such record (any more). */
    val server: Record<T>?,
    /** What stands against what; null where the two would merge by now. */
    val clash: Clash?,
    val since: Instant,
)

/** What becomes of a conflict. */
public sealed interface Resolution<out T> {
    /** The local side replaces the server's. */
    public data object KeepLocal : Resolution<Nothing>

    /** The server's side replaces the local one. */
    public data object KeepServer : Resolution<Nothing>

    /** This replaces both, fields that [T] does not know included. */
    public data class Merged<T>(val value: T) : Resolution<T>
}

/** A local write that the server does not take. The app sees it until it is sent again, discarded or replaced. */
public data class Rejected<out T>(
    /** Which record. */
    val id: String,
    /** What this app wanted; null for a deletion. */
    val wanted: Record<T>?,
    val reason: RejectReason,
    val since: Instant,
)

/** A record that the app had before there was a service. */
public data class Imported<out T>(val id: String, val value: T, val createdAt: Instant, val updatedAt: Instant)

internal fun <T : Any> Codec<T>.record(raw: StoredRecord) = Record(
    id = raw.id,
    value = value(raw.json),
    version = raw.version,
    createdAt = Instant.ofEpochMilli(raw.createdAtMs),
    updatedAt = Instant.ofEpochMilli(raw.updatedAtMs),
)

/** One record that cannot be read does not take the others with it. */
internal fun <T : Any> Codec<T>.page(raw: RecordPage): Page<T> {
    val unreadable = mutableListOf<String>()
    val items = raw.items.mapNotNull {
        readable { record(it) }.also { read -> if (read == null) unreadable += it.id }
    }
    return Page(items, unreadable, raw.next)
}

/** Null where a side is no [T]: it is in the collection of another type. */
internal fun <T : Any> Codec<T>.conflict(raw: CoreConflict): Conflict<T>? = readable {
    Conflict(
        id = raw.id,
        base = raw.baseJson?.let { readable { value(it) } },
        local = raw.local?.let(::record),
        server = raw.server?.let(::record),
        clash = raw.clash,
        since = Instant.ofEpochMilli(raw.sinceMs),
    )
}

/** Null where what was wanted is no [T]. */
internal fun <T : Any> Codec<T>.rejected(raw: CoreRejected): Rejected<T>? = readable {
    Rejected(raw.id, raw.wanted?.let(::record), raw.reason, Instant.ofEpochMilli(raw.sinceMs))
}

private inline fun <R : Any> readable(read: () -> R): R? =
    try {
        read()
    } catch (other: SerializationException) {
        null
    }
