package notes

import android.app.Application
import android.net.ConnectivityManager
import android.net.Network as SystemNetwork
import android.net.NetworkCapabilities
import androidx.lifecycle.DefaultLifecycleObserver
import androidx.lifecycle.LifecycleOwner
import androidx.lifecycle.ProcessLifecycleOwner
import androidx.lifecycle.lifecycleScope
import dev.evenkeel.Config
import dev.evenkeel.Evenkeel
import dev.evenkeel.Network
import dev.evenkeel.TokenReason
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.launch

/** One client for the process, opened once, whoever asks first. */
class NotesApp : Application() {
    lateinit var client: Deferred<Evenkeel>
        private set

    override fun onCreate() {
        super.onCreate()
        val process = ProcessLifecycleOwner.get()
        client = process.lifecycleScope.async(Dispatchers.Default) {
            val config = Config(EDGE, ACCOUNT, filesDir.toPath().resolve("notes.db"))
            Evenkeel.open(config) { reason -> token(fresh = reason == TokenReason.REFUSED) }
                .also { follow(it, process) }
        }
    }

    private fun follow(client: Evenkeel, process: LifecycleOwner) {
        getSystemService(ConnectivityManager::class.java).registerDefaultNetworkCallback(
            object : ConnectivityManager.NetworkCallback() {
                override fun onCapabilitiesChanged(network: SystemNetwork, can: NetworkCapabilities) =
                    client.setNetwork(
                        if (can.hasCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED)) Network.UP
                        else Network.METERED,
                    )

                override fun onLost(network: SystemNetwork) = client.setNetwork(Network.DOWN)
            },
        )
        // Observers belong to the main thread, and hear at once where the process stands.
        process.lifecycleScope.launch(Dispatchers.Main.immediate) {
            process.lifecycle.addObserver(object : DefaultLifecycleObserver {
                override fun onStart(owner: LifecycleOwner) {
                    client.start()
                    client.setForeground(true)
                }

                override fun onStop(owner: LifecycleOwner) = client.setForeground(false)
            })
        }
    }

    /** Where your app has its sign-in. */
    @Suppress("UNUSED_PARAMETER")
    private suspend fun token(fresh: Boolean): String = "demo-token"

    private companion object {
        const val EDGE = "https://sync.example.com"
        const val ACCOUNT = "demo"
    }
}
