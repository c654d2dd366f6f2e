package dev.evenkeel

import java.io.File
import java.nio.file.Files
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.measureTime
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineExceptionHandler
import kotlinx.coroutines.CoroutineStart.UNDISPATCHED
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.supervisorScope
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.serialization.json.JsonObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assertions.fail
import org.junit.jupiter.api.Test

class LifecycleScenarios {
    @Test
    fun `listener-throws`() = scenario {
        val phone = open("phone")
        val thrown = CompletableDeferred<Throwable>()
        val later = mutableListOf<SyncStatus>()
        supervisorScope {
            val clumsy = launch(CoroutineExceptionHandler { _, e -> thrown.complete(e) }) {
                phone.status.collect { error("the app's own bug at ${it.version}") }
            }
            assertTrue(thrown.await().message!!.startsWith("the app's own bug"))
            assertTrue(clumsy.isCancelled)
            val other = launch { phone.status.collect(later::add) }
            phone.start()
            phone.reach { synced }
            stack.fault("circuit_forced_open")
            phone.syncNow()
            phone.reach { cause == Cause.CIRCUIT_OPEN }
            stack.reset()
            val proven = phone.reach { synced }
            withTimeout(30.seconds) { while (later.lastOrNull()?.version != proven.version) delay(1.milliseconds) }
            other.cancelAndJoin()
        }
        assertTrue(later.any { it.cause == Cause.CIRCUIT_OPEN } && later.last().synced, "$later")
        phone.collection<Note>().put("n1", Note("still here")).verdict()
    }

    @Test
    fun `device-revoked`() = scenario {
        val desk = synced("desk")
        val phone = synced("phone")
        val devices = desk.devices()
        assertEquals(setOf(desk.deviceId, phone.deviceId), devices.map { it.id }.toSet())
        assertEquals(desk.deviceId, devices.single { it.current }.id)
        desk.revokeDevice(phone.deviceId)
        // A stream that is open stays so: the next request is told.
        phone.syncNow()
        val out = phone.reach { ask == Ask.DEVICE_REVOKED }
        assertEquals(SyncState.DEGRADED to Cause.DEVICE_REVOKED, out.state to out.cause)
        val refused = thrownBy<RequestException.Failed> { phone.devices() }
        assertEquals(Cause.DEVICE_REVOKED to Layer.ACCOUNT, refused.failure.cause to refused.failure.layer)
        assertTrue(desk.devices().single { it.id == phone.deviceId }.revokedAt != null)
    }

    @Test
    fun `suspend-resume`() = scenario {
        val phone = synced("phone")
        val notes = phone.collection<Note>()
        val writer = launch {
            for (n in 0 until 100) {
                while (true) {
                    try {
                        notes.put("n$n", Note("$n"))
                        break
                    } catch (asleep: DataException.Suspended) {
                        delay(1.milliseconds)
                    }
                }
                delay(5.milliseconds)
            }
        }
        var cycles = 0
        while (cycles < 8 || writer.isActive) {
            val took = measureTime { phone.suspend(5.seconds) }
            assertTrue(took < 6.seconds, "$took")
            assertEquals(Lifecycle.SUSPENDED, phone.reach { lifecycle != Lifecycle.RUNNING }.lifecycle)
            thrownBy<DataException.Suspended> { notes.get("n0") }
            // What was on its way is counted by the edge and again by the origin, late on a busy machine; then no more.
            withTimeout(5.seconds) {
                do {
                    val sent = stack.requests()
                    delay(30.milliseconds)
                } while (stack.requests() != sent)
            }
            phone.resume()
            // Open again when it returns: a read needs no second try.
            notes.get("n0")
            phone.reach { lifecycle == Lifecycle.RUNNING }
            delay(30.milliseconds)
            cycles += 1
        }
        phone.reach { synced && pending == 0 }
        val desk = synced("desk").collection<Note>()
        assertEquals((0 until 100).map { "n$it" }.toSet(), desk.all().toList().map { it.id }.toSet())
    }

    @Test
    fun cancel() = scenario {
        val phone = synced("phone")
        stack.fault("origin_hangs")
        val written = phone.collection<Note>().put("n1", Note("waits"))
        repeat(20) {
            val waits = listOf(
                launch(start = UNDISPATCHED) { phone.status.first { it.version < 0 } },
                launch(start = UNDISPATCHED) { phone.changes.collect {} },
                launch(start = UNDISPATCHED) { phone.collection<Note>().observe("n1").collect {} },
                launch(start = UNDISPATCHED) { written.verdict() },
                launch(start = UNDISPATCHED) { phone.syncOnce(60.seconds) },
                launch(start = UNDISPATCHED) { phone.devices() },
            )
            withTimeout(10.seconds) { waits.forEach { it.cancelAndJoin() } }
            assertTrue(waits.all { it.isCancelled })
        }
        assertEquals(0, uniffiForeignFutureHandleCount())
        // The one that follows the statuses waits on.
        assertEquals(1, uniffiContinuationHandleMap.size)
        stack.reset()
        phone.retryNow()
        assertInstanceOf(Verdict.Acknowledged::class.java, written.verdict())
        val next = async(start = UNDISPATCHED) { phone.changes.first() }
        while (next.isActive) {
            phone.collection<Note>().put("n2", Note("heard"))
            withTimeout(30.seconds) { delay(10.milliseconds) }
        }
        assertInstanceOf(Change.Upserted::class.java, next.await())
    }

    @Test
    fun closed() = scenario {
        val phone = synced("phone")
        val notes = phone.collection<Note>()
        val waits = listOf(
            launch(start = UNDISPATCHED) { phone.changes.collect {} },
            launch(start = UNDISPATCHED) { notes.observe("n1").collect {} },
            launch(start = UNDISPATCHED) { notes.observePage().collect {} },
        )
        val ai = phone.ai
        phone.close()
        phone.close()
        withTimeout(10.seconds) { waits.forEach { it.join() } }
        assertEquals(Lifecycle.STOPPED, phone.status.value.lifecycle)
        val steering: List<suspend () -> Unit> = listOf(
            { phone.start() }, { phone.stop() }, { phone.suspend() }, { phone.resume() },
            { phone.setNetwork(Network.UP) }, { phone.setForeground(true) }, { phone.tokenChanged() },
            { phone.retryNow() }, { phone.syncNow() }, { phone.diagnostics() }, { phone.changes.first() },
        )
        for (call in steering) thrownBy<ClientException.Closed>(call)
        val data: List<suspend () -> Unit> = listOf(
            { notes.get("a") }, { notes.put("a", Note("b")) }, { notes.patch("a", JsonObject(emptyMap())) },
            { notes.delete("a") }, { notes.page() }, { notes.conflicts() }, { notes.rejected() },
            { notes.resolve("a", Resolution.KeepLocal) }, { notes.retry("a") }, { notes.discard("a") },
            { notes.bootstrap(emptyList()) }, { notes.observe("a").first() }, { notes.observePage().first() },
            { phone.pending() }, { phone.signOut(SignOut.KEEP) },
        )
        for (call in data) thrownBy<DataException.Closed>(call)
        thrownBy<RequestException.Closed> { phone.devices() }
        thrownBy<RequestException.Closed> { phone.revokeDevice("x") }
        val once = thrownBy<SyncOnceException> { phone.syncOnce(1.seconds) }
        assertEquals(SyncOnceException.Reason.CLOSED, once.reason)
        thrownBy<AiException.Closed> { ai.session() }
        assertTrue(phone.deviceId.length == 36)

        repeat(100) { n ->
            val many = open("many")
            many.use {
                if (n % 4 != 0) it.start()
                it.collection<Note>().put("n", Note("$n"))
            }
            assertEquals(Lifecycle.STOPPED, many.status.value.lifecycle)
        }
        // The one that told of the end of the others has to come to its own.
        withTimeoutOrNull(10.seconds) { while (threads().isNotEmpty()) delay(1.milliseconds) }
        assertEquals(emptyList<String>(), threads())
        assertEquals(emptyList<String>(), files(dir.toString()))
    }

    /** The core's threads in this process. */
    private fun threads() = File("/proc/self/task").listFiles().orEmpty()
        .map { File(it, "comm").runCatching { readText().trim() }.getOrDefault("") }
        .filter { it.startsWith("evenkeel") }

    private fun files(under: String) = File("/proc/self/fd").listFiles().orEmpty()
        .mapNotNull { runCatching { Files.readSymbolicLink(it.toPath()).toString() }.getOrNull() }
        .filter { it.startsWith(under) }
}

suspend inline fun <reified E : Throwable> thrownBy(crossinline call: suspend () -> Unit): E {
    try {
        withTimeout(20.seconds) { call() }
    } catch (thrown: Throwable) {
        return thrown as? E ?: throw AssertionError("not a ${E::class.java.name}", thrown)
    }
    return fail("nothing was thrown")
}
