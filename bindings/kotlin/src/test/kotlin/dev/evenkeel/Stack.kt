package dev.evenkeel

import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.util.concurrent.CompletableFuture
import java.util.concurrent.TimeUnit
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.jsonObject

/** A `recovery-check stack` of one's own: the reference service as a process, with faults through its control API. */
class Stack(vararg settings: String) : AutoCloseable {
    /** A shell that kills the service once nobody holds its input any more: when this is closed, or the JVM is gone. */
    private val process: Process = ProcessBuilder(
        listOf("/bin/sh", "-c", "\"\$0\" stack \"\$@\" & read -r _; kill -9 \$!") +
            checkNotNull(System.getenv("RECOVERY_CHECK")) { "RECOVERY_CHECK names the program" } +
            (settings.toList() + "rate_limit_requests=1000000").flatMap { listOf("--set", it) },
    ).redirectError(ProcessBuilder.Redirect.DISCARD).start()
    private val urls: Map<String, String> = try {
        CompletableFuture.supplyAsync {
            process.inputReader().lineSequence().takeWhile { it != "ready" }
                .associate { it.substringBefore(' ') to it.substringAfter(' ') }
        }.get(30, TimeUnit.SECONDS)
    } catch (failed: Exception) {
        close()
        throw failed
    }
    private val http = HttpClient.newHttpClient()

    val edge: String get() = urls.getValue("edge")

    fun fault(name: String, value: String = "true") {
        send("PUT", "/faults/$name", value)
    }

    fun reset() {
        send("POST", "/reset", "")
    }

    /** How many requests the service has seen. */
    fun requests(): Int =
        (Json.parseToJsonElement(send("GET", "/requests", "")).jsonObject.getValue("requests") as JsonArray).size

    /** Another device's records `r0`, `r1`, …, straight to the service: a client would keep to its pace. */
    fun fill(count: Int) {
        for (part in (0 until count).chunked(100)) {
            val operations = part.joinToString(",") { n ->
                val at = 1_700_000_000_000 + n
                """{"requestId":"fill-${n + 10_000}","op":"upsert","noteId":"r$n","baseVersion":0,""" +
                    """"note":{"id":"r$n","content":"$n","createdAt":$at,"updatedAt":$at,"version":0}}"""
            }
            send("POST", "/api/v2/sync/push", """{"operations":[$operations]}""", edge)
        }
    }

    private fun send(method: String, path: String, body: String, base: String = urls.getValue("control")): String {
        val request = HttpRequest.newBuilder(URI(base + path))
            .header("Content-Type", "application/json").header("Authorization", "Bearer demo-token")
            .header("X-Device-Id", "6a6f0d4c-2f38-4c0e-9a9c-0d5e7d5c2b11")
            .method(method, HttpRequest.BodyPublishers.ofString(body)).build()
        val answer = http.send(request, HttpResponse.BodyHandlers.ofString())
        check(answer.statusCode() == 200) { "$method $path: ${answer.statusCode()} ${answer.body()}" }
        return answer.body()
    }

    override fun close() {
        process.outputStream.close()
        if (!process.waitFor(10, TimeUnit.SECONDS)) process.destroyForcibly().waitFor()
    }
}
