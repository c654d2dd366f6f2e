package dev.evenkeel

import java.util.Collections
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class TokenScenarios {
    @Test
    fun `token-throws`() = scenario {
        val works = CompletableDeferred<Unit>()
        val asked = AtomicInteger()
        val phone = started("phone", {
            // An exception at one time, an error at another, and a limit of the app's own.
            if (!works.isCompleted) {
                when (asked.getAndIncrement()) {
                    0 -> error("the app's own bug")
                    1 -> TODO("later")
                    else -> withTimeout(1.milliseconds) { awaitCancellation() }
                }
            }
            "demo-token"
        })
        val down = phone.reach { cause == Cause.TOKEN_UNAVAILABLE }
        assertEquals(SyncState.DEGRADED to Layer.ACCOUNT, down.state to down.layer)
        phone.reach { cause == Cause.TOKEN_UNAVAILABLE && asked.get() > 2 && version > down.version }
        works.complete(Unit)
        phone.reach { synced }
    }

    @Test
    fun `token-slow`() = scenario {
        val dropped = CompletableDeferred<Unit>()
        val asked = AtomicInteger()
        val provider: suspend (TokenReason) -> String = {
            if (asked.getAndIncrement() == 0) {
                try {
                    awaitCancellation()
                } catch (late: CancellationException) {
                    dropped.complete(Unit)
                    throw late
                }
            }
            "demo-token"
        }
        val phone = started("phone", provider) { it.copy(tokenTimeout = 300.milliseconds) }
        phone.reach { cause == Cause.TOKEN_UNAVAILABLE && state == SyncState.DEGRADED }
        dropped.await()
        phone.reach { synced }
        assertEquals(2, asked.get())
    }

    @Test
    fun `token-refresh`() = scenario("tokens=first=demo,second=demo") {
        val reasons = Collections.synchronizedList(mutableListOf<TokenReason>())
        val provider: suspend (TokenReason) -> String = { reason ->
            reasons += reason
            if (reason == TokenReason.REFUSED) "second" else "first"
        }
        val phone = synced("phone", provider)
        assertEquals(listOf(TokenReason.NEEDED), reasons.toList())
        stack.fault("tokens_expired", """{"only":["first"]}""")
        val verdict = phone.collection<Note>().put("n1", Note("with the second")).verdict()
        assertInstanceOf(Verdict.Acknowledged::class.java, verdict)
        assertEquals(listOf(TokenReason.NEEDED, TokenReason.REFUSED), reasons.toList())
        phone.reach { synced }
    }

    @Test
    fun `signed out until the app says otherwise`() = scenario {
        val signedIn = CompletableDeferred<Unit>()
        val asked = AtomicInteger()
        val phone = started("phone", {
            asked.incrementAndGet()
            if (!signedIn.isCompleted) throw SignedOutException()
            "demo-token"
        })
        phone.reach { ask == Ask.SIGN_IN && cause == Cause.AUTH_REQUIRED }
        signedIn.complete(Unit)
        phone.retryNow()
        assertTrue(phone.status.value.ask == Ask.SIGN_IN && asked.get() == 1)
        phone.tokenChanged()
        phone.reach { synced }
    }
}
