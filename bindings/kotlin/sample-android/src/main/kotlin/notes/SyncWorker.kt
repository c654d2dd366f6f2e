package notes

import android.content.Context
import androidx.work.Constraints
import androidx.work.CoroutineWorker
import androidx.work.ExistingPeriodicWorkPolicy
import androidx.work.NetworkType
import androidx.work.PeriodicWorkRequestBuilder
import androidx.work.WorkManager
import androidx.work.WorkerParameters
import dev.evenkeel.SyncOnceException
import java.util.concurrent.TimeUnit
import kotlin.time.Duration.Companion.seconds

/** Brings the store up to date while nobody looks. A push message may start one too. */
class SyncWorker(context: Context, parameters: WorkerParameters) : CoroutineWorker(context, parameters) {
    override suspend fun doWork(): Result {
        val client = (applicationContext as NotesApp).client.await()
        return try {
            client.syncOnce(within = 25.seconds)
            Result.success()
        } catch (later: SyncOnceException) {
            // The next period is soon enough: what is written is safe, and the service is left alone.
            Result.success()
        }
    }

    companion object {
        fun schedule(context: Context) {
            val request = PeriodicWorkRequestBuilder<SyncWorker>(1, TimeUnit.HOURS)
                .setConstraints(Constraints.Builder().setRequiredNetworkType(NetworkType.CONNECTED).build())
                .build()
            WorkManager.getInstance(context)
                .enqueueUniquePeriodicWork("sync", ExistingPeriodicWorkPolicy.KEEP, request)
        }
    }
}
