package dev.evenkeel

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.emitAll
import kotlinx.coroutines.flow.asFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.map
import kotlinx.serialization.KSerializer
import kotlinx.serialization.descriptors.StructureKind
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.serializer

/**
 * The account's records as values of [T], a `@Serializable` class. Its properties are the record's fields; those
 * that other apps write and [T] does not know are left alone. `id`, `version`, `createdAt`, `updatedAt` and
 * `deletedAt` belong to the record itself and cannot be among them.
 */
public inline fun <reified T : Any> Evenkeel.collection(json: Json = Collection.json): Collection<T> =
    Collection(ffi, serializer<T>(), json)

/**
 * The account's records as values of [T]; see [collection]. Reads and writes work without a network.
 *
 * Every call throws [DataException], whose type says what to do, and `SerializationException` where one record was
 * asked for that is no [T].
 */
public class Collection<T : Any> @PublishedApi internal constructor(
    private val ffi: EvenkeelClient,
    serializer: KSerializer<T>,
    json: Json,
) {
    private val codec = Codec(serializer, json)

    /** The record as the app sees it, with the local writes on top; null where there is none. */
    public suspend fun get(id: String): Record<T>? = ffi.get(id)?.let(codec::record)

    /**
     * Writes a record, and returns once that is durable. A property that is null is removed; fields that [T] does not
     * know stay. Settles a conflict over the record, and replaces a refused write to it.
     */
    public suspend fun put(id: String, value: T): Write {
        val text = codec.text(value)
        return Write(codec.known?.let { ffi.putKnown(id, text, it) } ?: ffi.put(id, text))
    }

    /** Writes these fields and leaves the others as they are. */
    public suspend fun patch(id: String, fields: JsonObject): Write = Write(ffi.patch(id, fields.toString()))

    /** Deletes a record. One that is not there is as good as deleted. */
    public suspend fun delete(id: String): Write = Write(ffi.delete(id))

    /** A part of the records, at most 1,000. [after] is the [Page.next] of the page before. */
    public suspend fun page(order: Order = Order.NEWEST_UPDATE, limit: Int = 100, after: String? = null): Page<T> =
        codec.page(ffi.list(query(order, limit, after)))

    /** All records that are a [T], read page by page while they are collected. */
    public fun all(order: Order = Order.NEWEST_UPDATE): Flow<Record<T>> = flow {
        var after: String? = null
        do {
            val page = page(order, PAGE, after)
            emitAll(page.items.asFlow())
            after = page.next
        } while (after != null)
    }

    /** The record now and each time it looks different; null where there is none. Ends with the client. */
    public fun observe(id: String): Flow<Record<T>?> =
        feed({ ffi.observe(id) }, { it.next() }, { it.cancel() }).map { it.record?.let(codec::record) }

    /** The first records in an order, now and each time they look different. Ends with the client. */
    public fun observePage(order: Order = Order.NEWEST_UPDATE, limit: Int = 100): Flow<Page<T>> =
        feed({ ffi.observeList(query(order, limit, null)) }, { it.next() }, { it.cancel() }).map(codec::page)

    /** The records that wait for a decision, oldest first. Those that are no [T] are in another type's collection. */
    public suspend fun conflicts(): List<Conflict<T>> = ffi.conflicts().mapNotNull(codec::conflict)

    /** Decides a conflict. The decision is a write like any other. */
    public suspend fun resolve(id: String, choice: Resolution<T>): Write = Write(
        ffi.resolve(
            id,
            when (choice) {
                Resolution.KeepLocal -> CoreResolution.KeepLocal
                Resolution.KeepServer -> CoreResolution.KeepServer
                is Resolution.Merged -> CoreResolution.Merged(codec.text(choice.value))
            },
        ),
    )

    /** The writes that the server does not take, oldest first. Those that are no [T] are in another type's collection. */
    public suspend fun rejected(): List<Rejected<T>> = ffi.rejected().mapNotNull(codec::rejected)

    /** Sends a refused write once more, on top of what the server has by now. */
    public suspend fun retry(id: String): Write = Write(ffi.retry(id))

    /** Forgets a refused write: the app sees the server's record again. */
    public suspend fun discard(id: String): Unit = ffi.discard(id)

    /**
     * Takes over what the app had before there was a service, once per store: an app can call it at each start. All
     * of them or none.
     */
    public suspend fun bootstrap(records: List<Imported<T>>): Bootstrap = ffi.bootstrap(
        records.map {
            ImportedRecord(it.id, it.createdAt.toEpochMilli(), it.updatedAt.toEpochMilli(), codec.text(it.value))
        },
    )

    private fun query(order: Order, limit: Int, after: String?) =
        ListQuery(order, limit.coerceAtLeast(0).toUInt(), after)

    public companion object {
        /** How values become records: everything that is not null is written, unknown fields are passed over. */
        public val json: Json = Json {
            ignoreUnknownKeys = true
            encodeDefaults = true
            explicitNulls = false
        }
        private const val PAGE = 500
    }
}

/** Values of [T] as the core's text, and back. */
internal class Codec<T : Any>(private val serializer: KSerializer<T>, private val json: Json) {
    /** What [T] knows; null for a type that takes any field, as a map does. */
    val known: List<String>? = serializer.descriptor.let { type ->
        val named = type.kind == StructureKind.CLASS && json.configuration.namingStrategy == null
        if (named) List(type.elementsCount, type::getElementName) else null
    }

    fun text(value: T): String = json.encodeToString(serializer, value)

    fun value(text: String): T = json.decodeFromString(serializer, text)
}
