package dev.evenkeel

import kotlinx.coroutines.CancellationException

/** The user is signed out. The client asks for nothing until the app calls [Evenkeel.tokenChanged]. */
public class SignedOutException : Exception("the user is signed out")

/** The app's function in the core's form. */
internal class AppTokens(private val tokens: suspend (TokenReason) -> String) : TokenProvider {
    override suspend fun token(reason: TokenReason): String =
        try {
            tokens(reason)
        } catch (signedOut: SignedOutException) {
            throw TokenProviderException.SignedOut()
        } catch (cancelled: CancellationException) {
            throw cancelled
        } catch (thrown: Throwable) {
            // An Error too: the core would wait for its answer in vain.
            throw TokenProviderException.Unavailable()
        }
}
