package dev.evenkeel

import java.time.Instant
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.serialization.Serializable
import kotlinx.serialization.SerializationException
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Test

class DataScenarios {
    @Test
    fun `long-list`() = scenario {
        stack.fill(10_000)
        val pulled = synced("phone").collection<Note>()
        val ids = mutableListOf<String>()
        var bookmark: String? = null
        do {
            val page = pulled.page(Order.OLDEST_CREATION, 1_000, bookmark)
            assertEquals(1_000 to 0, page.items.size to page.unreadable.size)
            ids += page.items.map { it.id }
            bookmark = page.next
        } while (bookmark != null)
        assertEquals((0 until 10_000).map { "r$it" }, ids)

        // The app's own from before there was a service, on a device that never heard of one.
        val notes = open("own").collection<Note>()
        val at = Instant.ofEpochMilli(1_700_000_000_000)
        val before = (0 until 10_000).map { n ->
            Imported("r%05d".format(n), Note("$n"), at.plusMillis(n.toLong()), at.plusMillis(n.toLong()))
        }
        assertEquals(Bootstrap.Taken(10_000), notes.bootstrap(before))
        assertEquals(Bootstrap.DoneBefore, notes.bootstrap(before))
        val all = notes.all(Order.ID).toList()
        assertEquals(before.map { it.id to it.value }, all.map { it.id to it.value })
        assertEquals(at.plusMillis(7), all[7].updatedAt)
        val newest = mutableListOf<String>()
        var after: String? = null
        do {
            val page = notes.page(Order.NEWEST_UPDATE, 999, after)
            newest += page.items.map { it.id }
            after = page.next
        } while (after != null)
        assertEquals(before.map { it.id }.reversed(), newest)
    }

    @Test
    fun unicode() = scenario {
        val texts = listOf(
            "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳", "e\u0301 is not \u00e9", "שלום עולם \u202Eabc\u202C", "tab\tnew\nline \u0001\u001f\u007f",
            "\u2028\u2029\uFEFF", "\"\\/", "𝒳𝔘 日本語 ไทย", "\uE000\uFFFD",
        )
        val desk = synced("desk").collection<Note>()
        val ids = texts.indices.map { "id-$it-" + texts[it] }
        for ((id, text) in ids.zip(texts)) {
            assertInstanceOf(Verdict.Acknowledged::class.java, desk.put(id, Note(text)).verdict(), id)
        }
        val phone = synced("phone").collection<Note>()
        for ((id, text) in ids.zip(texts)) assertEquals(text, phone.get(id)?.value?.content)
        assertEquals(ids.toSet(), phone.all().toList().map { it.id }.toSet())
    }

    @Test
    fun `fields that an app does not know stay, and a null removes`() = scenario {
        val client = open("phone")
        val any = client.collection<JsonObject>()
        any.put("n1", buildJsonObject { put("content", "a"); put("color", "red"); put("theirs", 7) })
        client.collection<Note>().put("n1", Note("b", color = null))
        assertEquals(
            buildJsonObject { put("theirs", 7); put("content", "b") }.toMap(), any.get("n1")?.value?.toMap(),
        )
        any.patch("n1", buildJsonObject { put("theirs", 8) })
        assertEquals(JsonPrimitive(8), any.get("n1")?.value?.get("theirs"))
    }

    @Test
    fun `a record of another shape hides no other`() = scenario {
        @Serializable data class Task(val due: Int)
        val client = open("phone")
        client.collection<Task>().put("t1", Task(3))
        val notes = client.collection<Note>()
        notes.put("n1", Note("a"))
        val page = notes.observePage(Order.ID).first()
        assertEquals(listOf("n1") to listOf("t1"), page.items.map { it.id } to page.unreadable)
        assertEquals(listOf("n1"), notes.all().toList().map { it.id })
        thrownBy<SerializationException> { notes.get("t1") }
    }

    @Test
    fun `a conflict of another shape hides no other`() = scenario {
        @Serializable data class Task(val due: Int)
        val desk = synced("desk")
        val phone = synced("phone")
        suspend fun write(client: Evenkeel, n: Int) = listOf(
            client.collection<Task>().put("t1", Task(n)), client.collection<Note>().put("n1", Note("$n")),
        )
        write(desk, 1).forEach { it.verdict() }
        for (id in listOf("t1", "n1")) phone.collection<JsonObject>().observe(id).first { it != null }
        phone.setNetwork(Network.DOWN)
        write(phone, 2)
        write(desk, 3).forEach { it.verdict() }
        phone.setNetwork(Network.UP)
        phone.reach { conflicts == 2 }
        assertEquals(listOf("n1" to "2"), phone.collection<Note>().conflicts().map { it.id to it.local?.value?.content })
        assertEquals(listOf("t1" to 3), phone.collection<Task>().conflicts().map { it.id to it.server?.value?.due })
        assertEquals(setOf("t1", "n1"), phone.collection<JsonObject>().conflicts().map { it.id }.toSet())
        assertEquals(emptyList<Rejected<Note>>(), phone.collection<Note>().rejected())
    }

    @Test
    fun `ai from connecting to an answer`() = scenario {
        val ai = open("phone").ai
        thrownBy<AiException.NotConnected> { ai.analyze("x") }
        assertEquals("gemini", ai.connect("gemini", "key-of-a-user").provider)
        assertEquals(AiState.AVAILABLE, ai.statuses.first().state)
        assertEquals(true, ai.analyze("Buy milk tomorrow").title.isNotEmpty())
        stack.fault("provider_refuses_keys")
        thrownBy<AiException> { ai.cleanup("x") }
    }
}
