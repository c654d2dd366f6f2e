package notes

import dev.evenkeel.Config
import dev.evenkeel.Evenkeel
import java.nio.file.Path
import javax.swing.SwingUtilities
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.Serializable

@Serializable
data class Note(val content: String)

/** `notes EDGE STORE`: notes for `demo-token`, as the reference service of this repository knows it. */
fun main(arguments: Array<String>) {
    val edge = arguments.getOrElse(0) { "http://127.0.0.1:8787" }
    val store = Path.of(arguments.getOrElse(1) { "notes.db" })
    val client = runBlocking { Evenkeel.open(Config(edge, "demo", store)) { "demo-token" } }
    // Also for Ctrl-C: what was typed is in the store, so there is nothing to save.
    Runtime.getRuntime().addShutdownHook(Thread(client::close))
    client.start()
    SwingUtilities.invokeLater { NotesWindow(client).isVisible = true }
}
