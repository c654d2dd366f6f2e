package dev.evenkeel

import java.nio.file.Files
import java.nio.file.Path
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.Serializable

@Serializable
data class Note(val content: String, val color: String? = null)

val demo: suspend (TokenReason) -> String = { "demo-token" }

/** One scenario: a service, a folder, and clients that are closed at its end. */
class World(val stack: Stack, val dir: Path, scope: CoroutineScope) : CoroutineScope by scope {
    private val clients = mutableListOf<Evenkeel>()

    suspend fun open(
        name: String,
        tokens: suspend (TokenReason) -> String = demo,
        url: String = stack.edge,
        change: (Config) -> Config = { it },
    ): Evenkeel {
        val config = Config(url, "demo", dir.resolve(name), durable = false, proxy = "none", requestsPerMinute = 180)
        return Evenkeel.open(change(config), tokens).also(clients::add)
    }

    suspend fun started(name: String, tokens: suspend (TokenReason) -> String = demo, change: (Config) -> Config = { it }): Evenkeel =
        open(name, tokens, change = change).also { it.start() }

    suspend fun synced(name: String, tokens: suspend (TokenReason) -> String = demo): Evenkeel =
        started(name, tokens).also { it.reach { synced } }

    suspend fun end() = clients.forEach { it.shutDown() }
}

val SyncStatus.synced: Boolean get() = state == SyncState.SYNCED

/** Waits for a status, and says where it stood if that does not come. */
suspend fun Evenkeel.reach(within: Duration = 90.seconds, there: SyncStatus.() -> Boolean): SyncStatus =
    try {
        withTimeout(within) { status.first(there) }
    } catch (late: TimeoutCancellationException) {
        throw AssertionError("still ${status.value}", late)
    }

fun scenario(vararg settings: String, steps: suspend World.() -> Unit) {
    val dir = Files.createTempDirectory("evenkeel-kotlin")
    try {
        Stack(*settings).use { stack ->
            runBlocking(Dispatchers.Default) {
                withTimeout(180.seconds) {
                    val world = World(stack, dir, this)
                    try {
                        world.steps()
                    } finally {
                        world.end()
                    }
                }
            }
        }
    } finally {
        dir.toFile().deleteRecursively()
    }
}
