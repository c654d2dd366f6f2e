package dev.evenkeel

/*
 * What there is to do about each exception: for a log, or for words of the app's own. The compiler sees to it that
 * none is missing.
 */

/** What the app can do about it. */
public val OpenException.advice: String
    get() = when (this) {
        is OpenException.Url -> "Give one with https, without user, query and fragment."
        is OpenException.DeviceId -> "Give none, and one is made."
        is OpenException.Setting -> "Correct it, or leave it out."
        is OpenException.Certificate -> "Check that it is PEM and whole."
        is OpenException.Proxy -> "Correct it; a loopback service needs none."
        is OpenException.Network -> "Check that the system has root certificates."
        is OpenException.StateCorrupt -> "Look at it; without it this is a new device."
        is OpenException.StateUnusable -> "Give another state folder, or make room or rights."
        is OpenException.WrongAccount -> "Open another file, or sign that account out with a wipe first."
        is OpenException.NotAStore -> "Choose another path."
        is OpenException.NewerStore -> "Ask the user to update the app."
        is OpenException.StoreCorrupt -> "Call Evenkeel.recover: it saves what the app wrote."
        is OpenException.StoreBusy -> AGAIN
        is OpenException.StoreFull -> ROOM
        is OpenException.StoreUnusable -> "Look at its folder and rights."
        is OpenException.Internal -> REPORT
    }

/** What the app can do about it. */
public val ClientException.advice: String
    get() = when (this) {
        is ClientException.Closed -> ANOTHER
        is ClientException.Cancelled -> NOTHING
        is ClientException.Unfinished -> "Nothing to do: it ends by itself."
        is ClientException.Internal -> REPORT
    }

/** What the app can do about it. */
public val DataException.advice: String
    get() = when (this) {
        is DataException.OutboxFull -> "Wait until some are sent, or have the user decide some."
        is DataException.Id -> "Correct it."
        is DataException.NotFound -> "Look again what there is."
        is DataException.Json -> "Give an object, or a bookmark as a page gave it."
        is DataException.Full -> ROOM
        is DataException.Corrupt -> "Close the client, and call Evenkeel.recover: it saves what the app wrote."
        is DataException.Closed -> ANOTHER
        is DataException.Suspended -> RESUME
        is DataException.Busy -> AGAIN
        is DataException.Cancelled -> NOTHING
        is DataException.Internal -> REPORT
    }

/** What the app can do about it. */
public val SyncOnceException.advice: String
    get() = when (reason) {
        SyncOnceException.Reason.DEADLINE -> "What came stays; try at the next occasion."
        SyncOnceException.Reason.FAILED -> "See what the status asks for."
        SyncOnceException.Reason.INTERRUPTED -> "Try at the next occasion."
        SyncOnceException.Reason.CLOSED -> ANOTHER
        SyncOnceException.Reason.INTERNAL -> REPORT
    }

/** What the app can do about it. */
public val RequestException.advice: String
    get() = when (this) {
        is RequestException.Suspended -> RESUME
        is RequestException.Held -> "Ask again in $waitMs ms."
        is RequestException.Failed -> seeCause(failure)
        is RequestException.Cancelled -> NOTHING
        is RequestException.Closed -> ANOTHER
        is RequestException.Internal -> REPORT
    }

/** What the app can do about it. */
public val AiException.advice: String
    get() = when (this) {
        is AiException.NotConnected -> "Ask the user for a key, and connect."
        is AiException.Held -> "Ask again in $waitMs ms."
        is AiException.Failed -> seeCause(failure)
        is AiException.Cancelled -> NOTHING
        is AiException.Closed -> ANOTHER
        is AiException.Internal -> REPORT
    }

private fun seeCause(failure: FailureInfo) = "See the cause: ${failure.cause}, at the ${failure.layer}."

private const val AGAIN = "Try again."
private const val ANOTHER = "Open another client."
private const val NOTHING = "Nothing to do: it was cancelled."
private const val REPORT = "Report it, with the client's diagnostics."
private const val RESUME = "Resume the client first."
private const val ROOM = "Ask the user to make some room."
