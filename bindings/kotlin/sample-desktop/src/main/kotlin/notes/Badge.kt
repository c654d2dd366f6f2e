package notes

import dev.evenkeel.Ask
import dev.evenkeel.Lifecycle
import dev.evenkeel.SyncState
import dev.evenkeel.SyncStatus
import java.awt.Color
import kotlin.time.Duration

/** What the badge says of a status: one line and a colour. The same in every sample. */
data class Badge(val text: String, val colour: Color) {
    companion object {
        fun of(status: SyncStatus, left: Duration?): Badge {
            val waiting = if (status.pending > 0) ", ${status.pending} to send" else ""
            return when {
                status.lifecycle != Lifecycle.RUNNING -> Badge("paused$waiting", GREY)
                status.ask == Ask.SIGN_IN -> Badge("sign in again$waiting", RED)
                status.ask == Ask.DEVICE_REVOKED -> Badge("this device was signed out", RED)
                status.ask == Ask.FREE_STORAGE -> Badge("no room left on this device", RED)
                status.ask == Ask.RESOLVE_CONFLICTS -> Badge("${status.conflicts} to decide$waiting", AMBER)
                status.state == SyncState.SYNCED -> Badge("synced", GREEN)
                status.state == SyncState.SYNCING -> Badge("syncing$waiting", BLUE)
                else -> Badge("${cause(status)}$waiting${again(left)}", AMBER)
            }
        }

        private fun cause(status: SyncStatus) = status.cause?.name?.lowercase()?.replace('_', ' ') ?: "trouble"

        private fun again(left: Duration?) = when {
            left == null -> ""
            left == Duration.ZERO -> ", trying"
            else -> ", again in ${left.inWholeSeconds} s"
        }

        private val GREEN = Color(0x2E7D32)
        private val BLUE = Color(0x1565C0)
        private val AMBER = Color(0xB26A00)
        private val RED = Color(0xB71C1C)
        private val GREY = Color(0x616161)
    }
}
