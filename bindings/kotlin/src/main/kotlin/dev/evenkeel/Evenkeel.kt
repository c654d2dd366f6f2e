package dev.evenkeel

import java.nio.file.Path
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.job
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

/**
 * A client of the sync service, with its store on this device.
 *
 * Reads and writes go to the store and work without a network; [status] says where the data stands. Trouble of
 * the service is never an exception here: the client waits it out by itself. Every call may be made in any state
 * and from any thread. It holds threads and files until [close] or [shutDown].
 *
 * ```
 * val notes = client.collection<Note>()
 * client.start()
 * notes.put("n1", Note("Buy milk"))
 * client.status.collect { badge.show(it) }
 * ```
 */
public class Evenkeel private constructor(
    @PublishedApi internal val ffi: EvenkeelClient,
) : AutoCloseable {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val latest = MutableStateFlow(SyncStatus(ffi.status()))

    /** How things stand, always the latest. Once the client is closed its lifecycle is `STOPPED`, for good. */
    public val status: StateFlow<SyncStatus> = latest.asStateFlow()

    /** What is applied to the store from the moment of collecting on. Ends when the client is closed. */
    public val changes: Flow<Change> = feed({ ffi.changes() }, { it.next() }, { it.cancel() })

    /** This device's id, as the service knows it. */
    public val deviceId: String get() = ffi.deviceId()

    /** The service's AI, with this client's token and device. */
    public val ai: Ai by lazy { Ai(ffi.ai()) }

    init {
        scope.launch {
            // From the beginning: one could have come since `latest` was made, and the versions tell.
            var version = latest.value.version
            while (true) {
                val next = ffi.nextStatus(version, null) ?: break
                version = next.version
                latest.value = SyncStatus(next)
            }
            latest.value = latest.value.copy(lifecycle = Lifecycle.STOPPED)
        }
    }

    /** Begins to sync. On a client that runs it changes nothing, on a suspended one it is [resume] without the wait. */
    public fun start(): Unit = ffi.start()

    /** Ends the syncing, and returns when it has ended. [start] begins anew. */
    public suspend fun stop(): Unit = ffi.stop()

    /**
     * Pauses the client: gives up what is under way, closes connections and files, and returns when nothing is
     * left.
     *
     * @throws ClientException.Unfinished if that took longer than [within]; it is suspended nevertheless.
     */
    public suspend fun suspend(within: Duration = 5.seconds): Unit = ffi.suspend(within.inWholeMilliseconds)

    /**
     * Goes on after [suspend], and returns when the store's files are open again. Without effect on a client that is
     * not suspended.
     */
    public suspend fun resume() {
        ffi.resume()
        var now = ffi.status()
        while (now.lifecycle == Lifecycle.SUSPENDED) {
            now = ffi.nextStatus(now.version, null) ?: throw ClientException.Closed()
        }
    }

    /** Tells what the system says about the network. */
    public fun setNetwork(network: Network): Unit = ffi.setNetwork(network)

    /** Tells whether the user sees the app. Coming to the foreground cuts a wait short. */
    public fun setForeground(foreground: Boolean): Unit = ffi.setForeground(foreground)

    /** Tells that the app has another token, or that the user signed in again: the provider is asked anew. */
    public fun tokenChanged(): Unit = ffi.tokenChanged()

    /** The user asks to try again now. Cuts a wait short, but never the server's; rate-limited. */
    public fun retryNow(): Unit = ffi.retryNow()

    /** Asks for the latest changes: a push notification came, or a screen was opened. */
    public fun syncNow(): Unit = ffi.syncNow()

    /**
     * For a background wake-up: starts or resumes a client at rest, brings everything up to date, and puts it back
     * to rest.
     *
     * @throws SyncOnceException when it did not get there.
     */
    public suspend fun syncOnce(within: Duration): SyncReport {
        val report = try {
            ffi.syncOnce(within.inWholeMilliseconds, null)
        } catch (failed: CoreSyncOnceException) {
            throw SyncOnceException(failed)
        }
        return SyncReport(report.changesApplied, SyncStatus(report.status))
    }

    /** What waits for the server, in the order of the writes. */
    public suspend fun pending(): List<PendingWrite> = ffi.pending().writes.map(::PendingWrite)

    /**
     * The devices of this account, revoked ones included, as the service knows them now.
     *
     * @throws RequestException when the service cannot be asked, or refuses.
     */
    public suspend fun devices(): List<Device> = ffi.devices(null).map(::Device)

    /**
     * Shuts a device out of the account, for ever.
     *
     * @throws RequestException when the service cannot be asked, or refuses. It may have done it even so.
     */
    public suspend fun revokeDevice(id: String) {
        ffi.revokeDevice(id, null)
    }

    /**
     * Ends the syncing and closes the client, with or without what is in the store.
     *
     * @throws DataException where a wipe fails; the client is then stopped and open.
     */
    public suspend fun signOut(data: SignOut) {
        ffi.signOut(data)
        ended()
    }

    /** A picture for a support request, as JSON. It holds no token, ticket, cookie or content. */
    public fun diagnostics(): String = ffi.diagnosticsJson()

    /**
     * Ends everything, and returns when no thread, connection or file is left. What waits to be sent stays in the
     * store. May be called again.
     */
    public suspend fun shutDown() {
        ffi.shutDown()
        ended()
    }

    /** [shutDown] for who cannot suspend, `use { }` for one. It blocks: not for the main thread of an app. */
    override fun close(): Unit = runBlocking { shutDown() }

    private suspend fun ended() {
        // First the one that tells: it may hold a status from before the end.
        scope.coroutineContext.job.cancelAndJoin()
        latest.value = latest.value.copy(lifecycle = Lifecycle.STOPPED)
    }

    public companion object {
        init {
            keepAttached()
        }

        /**
         * Opens the store, and makes it where there is none. Nothing is sent before [start].
         *
         * @param tokens gives a token that may work now. It is kept until the service refuses it, or the app calls
         *   [tokenChanged]. One question is asked at a time, and one that takes longer than [Config.tokenTimeout] is
         *   cancelled. [SignedOutException] says that only the user can help; whatever else is thrown means that none
         *   can be had now, and the client asks again later, by itself.
         * @throws OpenException when it cannot be opened; its type says what to do.
         */
        public suspend fun open(config: Config, tokens: suspend (TokenReason) -> String): Evenkeel =
            Evenkeel(EvenkeelClient.open(config.toFfi(), AppTokens(tokens)))

        /**
         * Makes a damaged store of this account's usable again: what the app wrote and the server has not answered
         * for is kept wherever it can be read, the rest comes again with the next sync. A copy of the damaged file
         * stays beside it. No client may have it open.
         *
         * @throws OpenException when it cannot be done.
         */
        public suspend fun recover(store: Path, accountId: String): Recovery =
            recoverStore(store.toString(), accountId)
    }
}
