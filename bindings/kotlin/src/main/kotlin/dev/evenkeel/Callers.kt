package dev.evenkeel

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native

/**
 * Lets the core's threads stay attached to the JVM from their first answer on until they end. JNA would attach and
 * detach them for each, and a status would come later. They do not keep the JVM alive.
 */
internal fun keepAttached() {
    val stay = CallbackThreadInitializer(true, false, "evenkeel")
    Native.setCallbackThreadInitializer(uniffiRustFutureContinuationCallbackImpl, stay)
}
