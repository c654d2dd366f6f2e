package dev.evenkeel

import java.nio.file.Path
import kotlin.time.Duration

/**
 * How a client is made. The first three are required; the others suit most apps as they are.
 *
 * @property url where the service is: `https`, or `http` on loopback; a base path is kept.
 * @property accountId whose data it is, in 1 to 256 characters; a store belongs to one account.
 * @property store the store's file, in a folder that exists.
 * @property stateDir a folder for the device's id, and for how long the service asked to be left alone; made where
 *   it is missing. `<store>.state` by default.
 * @property deviceId this device's id, a UUID. By default one is made and kept.
 * @property durable whether a write survives a power cut. Without it, it survives a crash of the app.
 * @property extraRootCertificates certificates in PEM that are trusted beside the system's.
 * @property proxy `http://host:port`, or `none` for a direct way. By default as the environment says.
 * @property requestsPerMinute never more requests than this, 6 to 180. 80 by default.
 * @property outboxSoftMax from this many kept writes on the status says `BACKLOG`. 500 by default.
 * @property outboxHardMax a write that would make it more than this is refused. 1,000 by default.
 * @property storeBytesMax the store's file grows no further; 1 MiB at least. No limit by default.
 * @property connectTimeout to a connection, TLS included. 10 s by default.
 * @property tokenTimeout for one answer of the token provider, up to 30 s. 20 s by default.
 * @property aiTimeout for one call of AI, its waits and repeats included. 60 s by default.
 * @property pollEvery how often the client asks while the stream does not work. 30 s by default.
 * @property userAgent how the client calls itself.
 */
public data class Config(
    val url: String,
    val accountId: String,
    val store: Path,
    val stateDir: Path? = null,
    val deviceId: String? = null,
    val durable: Boolean = true,
    val extraRootCertificates: String? = null,
    val proxy: String? = null,
    val requestsPerMinute: Int? = null,
    val outboxSoftMax: Int? = null,
    val outboxHardMax: Int? = null,
    val storeBytesMax: Long? = null,
    val connectTimeout: Duration? = null,
    val tokenTimeout: Duration? = null,
    val aiTimeout: Duration? = null,
    val pollEvery: Duration? = null,
    val userAgent: String? = null,
) {
    internal fun toFfi() = EvenkeelConfig(
        url = url,
        accountId = accountId,
        storePath = store.toString(),
        stateDir = stateDir?.toString(),
        deviceId = deviceId,
        durable = durable,
        extraRootCertificates = extraRootCertificates,
        proxy = proxy,
        requestsPerMinute = requestsPerMinute?.count(),
        outboxSoftMax = outboxSoftMax?.count(),
        outboxHardMax = outboxHardMax?.count(),
        storeBytesMax = storeBytesMax?.coerceAtLeast(0)?.toULong(),
        connectTimeoutMs = connectTimeout?.ms(),
        tokenTimeoutMs = tokenTimeout?.ms(),
        aiTimeoutMs = aiTimeout?.ms(),
        pollEveryMs = pollEvery?.ms(),
        userAgent = userAgent,
    )
}

/** Less than nothing is nothing, which the core then refuses by the setting's name. */
private fun Int.count(): UInt = coerceAtLeast(0).toUInt()

private fun Duration.ms(): UInt = inWholeMilliseconds.coerceIn(0, UInt.MAX_VALUE.toLong()).toUInt()
