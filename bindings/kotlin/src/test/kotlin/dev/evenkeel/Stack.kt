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
    private val process: Process = ProcessBuilder(
        listOf(checkNotNull(System.getenv("RECOVERY_CHECK")) { "RECOVERY_CHECK names the program" }, "stack") +
            (settings.toList() + "rate_limit_requests=1000000").flatMap { listOf("--set", it) },
    ).redirectError(ProcessBuilder.Redirect.DISCARD).start()
    private val ender = Thread { process.destroyForcibly() }.also(Runtime.getRuntime()::addShutdownHook)
    private val urls: Map<String, String> = try {
        CompletableFuture.supplyAsync {
            process.inputReader().lineSequence().takeWhile { it != "ready" }
                .associate { it.substringBefore(' ') to it.substringAfter(' ') }
        }.get(30, TimeUnit.SECONDS)
    } catch (failed: Exception) {
        process.destroyForcibly()
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

    private fun send(method: String, path: String, body: String): String {
        val request = HttpRequest.newBuilder(URI(urls.getValue("control") + path))
            .method(method, HttpRequest.BodyPublishers.ofString(body)).build()
        val answer = http.send(request, HttpResponse.BodyHandlers.ofString())
        check(answer.statusCode() == 200) { "$method $path: ${answer.statusCode()} ${answer.body()}" }
        return answer.body()
    }

    override fun close() {
        process.destroy()
        if (!process.waitFor(10, TimeUnit.SECONDS)) process.destroyForcibly().waitFor()
        Runtime.getRuntime().removeShutdownHook(ender)
    }
}
