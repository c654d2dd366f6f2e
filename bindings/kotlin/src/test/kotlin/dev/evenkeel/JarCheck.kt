package dev.evenkeel

import java.nio.file.Files
import kotlinx.coroutines.runBlocking

/** `build.sh package`: whether the library in the jar is found and works, in a process that has nothing else. */
fun main() {
    val dir = Files.createTempDirectory("evenkeel-jar")
    try {
        val config = Config("http://127.0.0.1:9", "demo", dir.resolve("store"), proxy = "none")
        runBlocking {
            Evenkeel.open(config) { "demo-token" }.use { client ->
                val notes = client.collection<Note>()
                notes.put("n1", Note("from the jar"))
                check(notes.get("n1")?.value == Note("from the jar")) { "another record" }
            }
        }
        println("ok: a client with the library of the jar wrote a record and read it")
    } finally {
        dir.toFile().deleteRecursively()
    }
}
