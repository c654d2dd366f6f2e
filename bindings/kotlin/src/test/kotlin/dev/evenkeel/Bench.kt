package dev.evenkeel

import java.io.File
import java.nio.file.Files
import java.nio.file.Path
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.TimeSource
import kotlin.time.measureTime
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

private const val LIST = 1_000

/** `build.sh bench`: what calls cost through the border, beside [rust]'s figures of the same minute. */
fun main(rust: Array<String>) {
    val dir = Files.createTempDirectory("evenkeel-bench")
    try {
        runBlocking(Dispatchers.Default) {
            idle(dir)
            calls(dir, rust.associate { it.substringBefore('=') to it.substringAfter('=').toLong() })
            delivery(dir)
        }
    } finally {
        dir.toFile().deleteRecursively()
    }
}

/** How much memory a client holds that does nothing. */
private suspend fun idle(dir: Path) {
    suspend fun open(n: Int) = Evenkeel.open(config(dir, "idle$n")) { "demo-token" }.also { it.status.value }
    val before = resident()
    val first = open(0)
    val one = resident()
    val more = (1..10).map { open(it) }
    val eleven = resident()
    println("memory: the first client ${one - before} KiB with the library, each further one ${(eleven - one) / 10} KiB")
    (more + first).forEach { it.shutDown() }
}

private suspend fun calls(dir: Path, rust: Map<String, Long>) {
    val client = Evenkeel.open(config(dir, "calls")) { "demo-token" }
    val notes = client.collection<Note>()
    val text = { n: Int -> Note("note $n, about as long as a line of text is that somebody types") }
    for (n in 0 until LIST) notes.put("r%04d".format(n), text(n))
    println("| call | Kotlin, µs | Rust, µs | ratio |\n|---|--:|--:|--:|")
    CancelToken().use { nothing -> row("no-op", rust["noop"], 100_000) { nothing.cancel() } }
    row("get", rust["get"], 5_000) { notes.get("r%04d".format(it % LIST)) }
    row("put", rust["put"], 1_000) { notes.put("r%04d".format(it % LIST), text(it)) }
    row("list of 1,000", rust["list"], 50) { check(notes.page(Order.ID, LIST).items.size == LIST) }
    client.shutDown()
}

/** The best of some rounds, the first of which warms up. */
private suspend fun row(name: String, rustNs: Long?, calls: Int, call: suspend (Int) -> Unit) {
    val best = (0 until 6).minOf { measureTime { repeat(calls) { call(it) } }.inWholeNanoseconds } / calls
    val rust = checkNotNull(rustNs) { "Rust did not measure $name" }
    println("| $name | ${micros(best)} | ${micros(rust)} | ${"%.2f".format(best.toDouble() / rust)} |")
}

private fun micros(ns: Long) = (if (ns < 1_000) "%.3f" else "%.1f").format(ns / 1e3)

/** From when the core has a status until it is collected. */
private suspend fun delivery(dir: Path) {
    val client = Evenkeel.open(config(dir, "delivery")) { "demo-token" }
    val heard = Channel<Pair<Long, TimeSource.Monotonic.ValueTimeMark>>(Channel.UNLIMITED)
    val late = mutableListOf<Duration>()
    runBlocking {
        val collecting = launch(Dispatchers.Default) {
            client.status.collect { heard.send(it.version to TimeSource.Monotonic.markNow()) }
        }
        repeat(300) { n ->
            val before = client.ffi.status().version
            if (n % 2 == 0) client.start() else client.stop()
            while (client.ffi.status().version == before) Thread.onSpinWait()
            val had = TimeSource.Monotonic.markNow()
            var next = heard.receive()
            while (next.first <= before) next = heard.receive()
            late += next.second - had
        }
        collecting.cancelAndJoin()
    }
    late.sort()
    val of = { share: Double -> late[(late.size * share).toInt().coerceAtMost(late.size - 1)].coerceAtLeast(Duration.ZERO) }
    println("status in the flow after the core has it: median ${of(.5)}, 99 % ${of(.99)}, worst ${of(1.0)}")
    check(of(.99) < 5.milliseconds) { "later than 5 ms" }
    client.shutDown()
}

private fun config(dir: Path, name: String) = Config(
    "http://127.0.0.1:9", "demo", dir.resolve(name), durable = false, proxy = "none", outboxSoftMax = 100_000,
    outboxHardMax = 100_000,
)

/** What the process holds, in KiB, after what nobody needs is gone. */
private fun resident(): Long {
    repeat(3) { System.gc() }
    return File("/proc/self/status").readLines().first { it.startsWith("VmRSS") }.filter(Char::isDigit).toLong()
}
