package notes

import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.material3.Button
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.material3.TextField
import androidx.compose.runtime.Composable
import androidx.compose.runtime.collectAsState
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.produceState
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.dp
import dev.evenkeel.Conflict
import dev.evenkeel.Evenkeel
import dev.evenkeel.Order
import dev.evenkeel.Resolution
import dev.evenkeel.SyncStatus
import dev.evenkeel.collection
import java.util.UUID
import kotlin.time.Duration
import kotlinx.coroutines.launch
import kotlinx.serialization.Serializable

@Serializable
data class Note(val content: String)

@Composable
fun NotesScreen(client: Evenkeel) {
    val scope = rememberCoroutineScope()
    val notes = remember(client) { client.collection<Note>() }
    val status by client.status.collectAsState()
    val page by remember(notes) { notes.observePage(Order.NEWEST_CREATION, 1_000) }.collectAsState(null)
    val conflicts by produceState(emptyList<Conflict<Note>>(), status.conflicts) { value = notes.conflicts() }
    var text by remember { mutableStateOf("") }
    Column(Modifier.padding(16.dp)) {
        StatusBadge(status) { client.retryNow() }
        for (conflict in conflicts) {
            Decision(conflict) { choice -> scope.launch { notes.resolve(conflict.id, choice) } }
        }
        Row {
            TextField(text, { text = it }, Modifier.weight(1f))
            Button(onClick = {
                val content = text
                text = ""
                scope.launch { notes.put(UUID.randomUUID().toString(), Note(content)) }
            }) { Text("Add") }
        }
        LazyColumn { items(page?.items.orEmpty(), { it.id }) { Text(it.value.content, Modifier.padding(8.dp)) } }
    }
}

/** State, cause and countdown. The countdown of a status ends with it. */
@Composable
private fun StatusBadge(status: SyncStatus, retry: () -> Unit) {
    val left by produceState<Duration?>(null, status) { status.countdown().collect { value = it } }
    Row(Modifier.fillMaxWidth()) {
        val cause = status.cause?.let { ": ${it.name.lowercase().replace('_', ' ')}" } ?: ""
        val again = left?.let { ", again in ${it.inWholeSeconds} s" } ?: ""
        Text("${status.state.name.lowercase()}$cause$again", Modifier.weight(1f))
        if (left != null) TextButton(retry) { Text("Try now") }
    }
}

@Composable
private fun Decision(conflict: Conflict<Note>, choose: (Resolution<Note>) -> Unit) = Column {
    Text("Here: ${conflict.local?.value?.content ?: "(deleted)"}")
    Text("On the server: ${conflict.server?.value?.content ?: "(deleted)"}")
    Row {
        TextButton({ choose(Resolution.KeepLocal) }) { Text("Keep mine") }
        TextButton({ choose(Resolution.KeepServer) }) { Text("Keep theirs") }
    }
}
