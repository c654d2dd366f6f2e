package dev.evenkeel

import java.time.Instant
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.map

/**
 * The service's AI. A capability of its own: its trouble never shows in the sync status. A call sends at most three
 * requests; while a failure is waited out it says at once how long ([AiException.Held]).
 */
public class Ai internal constructor(private val ffi: EvenkeelAi) {
    /** How things stand now. */
    public val status: AiStatus get() = AiStatus(ffi.status())

    /** The statuses, beginning with the present one. Ends when the client is closed. */
    public val statuses: Flow<AiStatus> = feed({ ffi.statuses() }, { it.next() }, { it.cancel() }).map(::AiStatus)

    /** Hands the user's own key to the service. [provider] is `gemini`, `openrouter` or another that it knows. */
    public suspend fun connect(provider: String, apiKey: String): AiSession =
        AiSession(ffi.connect(provider, apiKey, null))

    /** The session, as the service knows it now. */
    public suspend fun session(): AiSession = AiSession(ffi.session(null))

    /** Ends the session: the service forgets the key. */
    public suspend fun disconnect(): AiSession = AiSession(ffi.disconnect(null))

    /** A title, tags and a type for a text. */
    public suspend fun analyze(content: String): Analysis = Analysis(ffi.analyze(content, null))

    /** The same for many texts, in their order. The service takes 512 KiB. */
    public suspend fun batch(contents: List<String>): List<Analysis> = ffi.batch(contents, null).map(::Analysis)

    /** A text, tidied up. */
    public suspend fun cleanup(content: String): String = ffi.cleanup(content, null)

    /** The ids of those of the texts (by id) that fit, the best first. */
    public suspend fun search(query: String, texts: Map<String, String>): List<String> =
        ffi.search(query, notes(texts), null)

    /** The texts (by id) of a day in a few sentences. */
    public suspend fun dailyBrief(texts: Map<String, String>): String = ffi.dailyBrief(notes(texts), null)

    /** What was said in a recording, whose encoding is named as `audio/mp4` is. Up to some 390 KB. */
    public suspend fun transcribe(audio: ByteArray, mimeType: String): String = ffi.transcribe(audio, mimeType, null)

    private fun notes(texts: Map<String, String>) = texts.map { (id, text) -> AiNote(id, text) }
}

/** How things stand with AI. */
public data class AiStatus(
    val state: AiState,
    /** What is in the way; null unless degraded. */
    val cause: Cause?,
    /** Whose fault; null unless degraded. */
    val layer: Layer?,
    /** How long until a call goes out again; null where only the app can do something. */
    val nextAttemptIn: Duration?,
) {
    internal constructor(raw: CoreAiStatus) :
        this(raw.state, raw.cause, raw.layer, raw.nextAttemptInMs?.milliseconds)
}

/** What the service knows of the user's key. */
public data class AiSession(
    val connected: Boolean,
    /** With whom. */
    val provider: String?,
    /** What it belongs to: `account` or `device`. */
    val scope: String?,
    /** Since when (an account's). */
    val connectedAt: Instant?,
    /** Until when (a device's). */
    val expiresAt: Instant?,
) {
    internal constructor(raw: CoreAiSession) : this(
        connected = raw.connected,
        provider = raw.provider,
        scope = raw.scope,
        connectedAt = raw.connectedAtMs?.let(Instant::ofEpochMilli),
        expiresAt = raw.expiresAtMs?.let(Instant::ofEpochMilli),
    )
}

/** What the provider thinks of a text. Its words are not to be trusted to be of any set. */
public data class Analysis(
    val title: String,
    val tags: List<String>,
    /** `NOTE`, `TASK`, `IDEA` or whatever the provider made up. */
    val kind: String?,
    val dueAt: Instant?,
    /** `urgent`, `normal`, `low` or whatever the provider made up. */
    val priority: String?,
) {
    internal constructor(raw: CoreAnalysis) :
        this(raw.title, raw.tags, raw.kind, raw.dueDateMs?.let(Instant::ofEpochMilli), raw.priority)
}
