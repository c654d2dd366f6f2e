package dev.evenkeel

import java.lang.reflect.Constructor
import java.nio.file.Files
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class ErrorScenarios {
    @Test
    fun errors() = scenario {
        val nowhere = "http://127.0.0.1:9"
        thrownBy<OpenException.Url> { open("a", url = "ftp://x") }
        thrownBy<OpenException.DeviceId> { open("a") { it.copy(deviceId = "mine") } }
        assertEquals(
            "requests_per_minute",
            thrownBy<OpenException.Setting> { open("a") { it.copy(requestsPerMinute = -1) } }.name,
        )
        thrownBy<OpenException.Certificate> { open("a") { it.copy(extraRootCertificates = "-----BEGIN") } }
        thrownBy<OpenException.Proxy> { open("a") { it.copy(proxy = "nonsense") } }
        Files.writeString(dir.resolve("text"), "no store, but text of some length, long enough for a page ".repeat(99))
        thrownBy<OpenException.NotAStore> { open("text") }
        thrownBy<OpenException.StoreUnusable> { open("no/folder") }
        val client = open("a", url = nowhere) { it.copy(outboxHardMax = 2, outboxSoftMax = 1) }
        thrownBy<OpenException.WrongAccount> { open("a") { it.copy(accountId = "other") } }

        val notes = client.collection<Note>()
        thrownBy<DataException.Id> { notes.put("", Note("x")) }
        thrownBy<DataException.NotFound> { notes.resolve("n9", Resolution.KeepLocal) }
        thrownBy<DataException.Json> { notes.page(after = "nonsense") }
        notes.put("n1", Note("1"))
        notes.put("n2", Note("2"))
        assertEquals(2u, thrownBy<DataException.OutboxFull> { notes.put("n3", Note("3")) }.kept)
        val failed = thrownBy<SyncOnceException> { client.syncOnce(300.milliseconds) }
        assertTrue(failed.reason == SyncOnceException.Reason.FAILED && failed.status?.pending == 2, "$failed")
        val away = thrownBy<RequestException.Failed> { client.devices() }
        assertEquals(Cause.CONNECT_FAILED to Layer.EDGE, away.failure.cause to away.failure.layer)
        client.start()
        client.suspend(5.seconds)
        thrownBy<DataException.Suspended> { notes.get("n1") }
        thrownBy<RequestException.Suspended> { client.devices() }
    }

    /** What the core can raise is what it generates: each type can be met, speaks, and says what to do. */
    @Test
    fun `every error has a text of the core's and an advice`() {
        val families = listOf(
            OpenException::class, ClientException::class, DataException::class, CoreSyncOnceException::class,
            RequestException::class, AiException::class,
        )
        val kinds = families.flatMap { family ->
            family.java.declaredClasses.filter { it.superclass == family.java }
        }
        assertTrue(kinds.size >= 46, "${kinds.size}")
        for (kind in kinds) {
            val error = made(kind.declaredConstructors.maxBy { it.parameterCount })
            val text = error.message
            assertFalse(text.isNullOrBlank(), kind.name)
            val advice = when (error) {
                is OpenException -> error.advice
                is ClientException -> error.advice
                is DataException -> error.advice
                is CoreSyncOnceException -> SyncOnceException(error).advice
                is RequestException -> error.advice
                is AiException -> error.advice
                else -> ""
            }
            assertTrue(advice.endsWith("."), kind.name)
            assertFalse("reason=" in text!!, "${kind.name}: $text")
        }
    }

    private fun made(constructor: Constructor<*>): Throwable {
        constructor.isAccessible = true
        val arguments = constructor.parameterTypes.map { type ->
            when (type) {
                String::class.java -> "why"
                Int::class.java -> 7
                Long::class.java -> 7L
                List::class.java -> listOf("pull")
                Cause::class.java -> Cause.CIRCUIT_OPEN
                FailureInfo::class.java ->
                    FailureInfo(Cause.CIRCUIT_OPEN, Layer.EDGE, 503.toUShort(), null, null, "the circuit is open")
                CoreStatus::class.java -> status
                else -> null // Kotlin's marker of a constructor with unsigned numbers
            }
        }
        return constructor.newInstance(*arguments.toTypedArray()) as Throwable
    }

    private val status = CoreStatus(
        version = 1, state = SyncState.DEGRADED, lifecycle = Lifecycle.RUNNING, syncsHere = true, link = Link.NONE,
        cause = Cause.CIRCUIT_OPEN, layer = Layer.EDGE, sinceMs = 0, attempt = 1u, nextAttemptAtMs = null,
        nextAttemptInMs = null, serverFloorMs = null, lastProofAgoMs = null, pending = 0u, conflicts = 0u,
        rejected = 0u, outbox = OutboxLevel.NORMAL, ask = Ask.NONE,
    )
}
