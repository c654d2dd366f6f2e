package dev.evenkeel

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineStart.UNDISPATCHED
import kotlinx.coroutines.async
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.flow.transformWhile
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class SyncScenarios {
    @Test
    fun `first-sync`() = scenario {
        val desk = synced("desk").collection<Note>()
        val writes = (0 until 120).map { desk.put("n$it", Note("note $it")) }
        writes.forEach { assertInstanceOf(Verdict.Acknowledged::class.java, it.verdict()) }
        val phone = synced("phone")
        val there = phone.collection<Note>().all(Order.ID).toList().associate { it.id to it.value }
        assertEquals((0 until 120).associate { "n$it" to Note("note $it") }, there)
        assertTrue(phone.status.value.lastProof != null && phone.status.value.link == Link.STREAM)
    }

    @Test
    fun outage() = scenario("circuit_open_ms=3000") {
        val phone = synced("phone")
        val seen = async(start = UNDISPATCHED) {
            var broken = false
            phone.status.transformWhile {
                emit(it)
                broken = broken || it.state == SyncState.DEGRADED
                !(broken && it.synced)
            }.toList()
        }
        stack.fault("circuit_forced_open")
        phone.syncNow()
        val down = phone.reach { cause == Cause.CIRCUIT_OPEN && (nextAttemptIn ?: Duration.ZERO) > 1.seconds }
        assertEquals(SyncState.DEGRADED to Layer.EDGE, down.state to down.layer)
        val (one, two) = withTimeout(30.seconds) { down.countdown().take(2).toList().map(::assertNotNullValue) }
        assertEquals(one - 1.seconds, two)
        stack.reset()
        val up = phone.reach { synced }
        assertTrue(up.cause == null && up.nextAttempt == null)
        val statuses = seen.await()
        assertTrue(statuses.first().synced && statuses.last().synced && statuses.any { it.cause == Cause.CIRCUIT_OPEN })
        assertTrue(statuses.zipWithNext().all { (a, b) -> a.version < b.version })
    }

    @Test
    fun `offline-edit`() = scenario {
        val phone = synced("phone")
        val desk = synced("desk")
        stack.fault("origin_refuses")
        val written = phone.collection<Note>().put("n1", Note("offline"))
        assertEquals(Note("offline"), phone.collection<Note>().get("n1")?.value)
        assertEquals(listOf("n1"), phone.pending().map { it.id })
        phone.reach { state == SyncState.DEGRADED && pending == 1 && nextAttempt != null }
        val verdict = async { written.verdict() }
        assertTrue(verdict.isActive)
        stack.reset()
        assertInstanceOf(Verdict.Acknowledged::class.java, verdict.await())
        desk.collection<Note>().observe("n1").first { it?.value == Note("offline") }
        assertEquals(0, phone.reach { synced }.pending)
    }

    @Test
    fun conflict() = scenario {
        val desk = synced("desk")
        val phone = synced("phone")
        desk.collection<Note>().put("n1", Note("as it was", "red")).verdict()
        val notes = phone.collection<Note>()
        notes.observe("n1").first { it != null }
        phone.setNetwork(Network.DOWN)
        val mine = notes.put("n1", Note("phone", "red"))
        desk.collection<Note>().put("n1", Note("desk", "red")).verdict()
        phone.setNetwork(Network.UP)
        val asked = phone.reach { ask == Ask.RESOLVE_CONFLICTS }
        assertEquals(1, asked.conflicts)
        assertEquals(Verdict.Conflicted, mine.verdict())
        val both = notes.conflicts().single()
        assertEquals(
            listOf("as it was", "phone", "desk"),
            listOf(both.base, both.local?.value, both.server?.value).map { it?.content },
        )
        assertEquals(Clash.Fields(listOf("content")), both.clash)
        val chosen = notes.resolve("n1", Resolution.Merged(Note("both", "blue")))
        assertInstanceOf(Verdict.Acknowledged::class.java, chosen.verdict())
        desk.collection<Note>().observe("n1").first { it?.value == Note("both", "blue") }
        assertEquals(0, phone.reach { ask == Ask.NONE && synced }.conflicts)
    }

    @Test
    fun `two-clients`() = scenario {
        val one = synced("shared")
        val two = started("shared")
        two.reach { !syncsHere && synced }
        assertTrue(one.status.value.syncsHere)
        val seen = async(start = UNDISPATCHED) { one.collection<Note>().observe("n2").first { it != null } }
        val verdict = two.collection<Note>().put("n2", Note("by the second")).verdict()
        assertInstanceOf(Verdict.Acknowledged::class.java, verdict)
        assertEquals("by the second", seen.await()?.value?.content)
        one.collection<Note>().put("n1", Note("by the first"))
        two.collection<Note>().observe("n1").first { it?.value == Note("by the first") }
    }

    private fun <T : Any> assertNotNullValue(value: T?): T = value.also { assertNotNull(it) }!!
}
