package notes

import dev.evenkeel.Collection
import dev.evenkeel.Conflict
import dev.evenkeel.DataException
import dev.evenkeel.Evenkeel
import dev.evenkeel.Network
import dev.evenkeel.Order
import dev.evenkeel.Record
import dev.evenkeel.Resolution
import dev.evenkeel.collection
import java.awt.BorderLayout
import java.awt.Color
import java.awt.Component
import java.awt.Dimension
import java.awt.FlowLayout
import java.awt.Font
import java.util.UUID
import javax.swing.BorderFactory
import javax.swing.DefaultListCellRenderer
import javax.swing.DefaultListModel
import javax.swing.JButton
import javax.swing.JCheckBox
import javax.swing.JFrame
import javax.swing.JLabel
import javax.swing.JList
import javax.swing.JOptionPane
import javax.swing.JPanel
import javax.swing.JScrollPane
import javax.swing.JSplitPane
import javax.swing.JTextArea
import javax.swing.event.DocumentEvent
import javax.swing.event.DocumentListener
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.collectLatest
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch

/** A list, an editor and a badge. All of it is collected from the client; nothing is asked for by hand. */
class NotesWindow(private val client: Evenkeel) : JFrame("Notes"), CoroutineScope by MainScope() {
    private val notes: Collection<Note> = client.collection()
    private val shown = DefaultListModel<Record<Note>>()
    private val list = JList(shown)
    private val editor = JTextArea()
    private val badge = JLabel()
    private val decide = JButton("Decide…")
    private var open: String? = null
    private var filling = false
    private var saving: Job? = null

    init {
        defaultCloseOperation = EXIT_ON_CLOSE
        add(top(), BorderLayout.NORTH)
        add(middle(), BorderLayout.CENTER)
        minimumSize = Dimension(640, 400)
        setLocationRelativeTo(null)
        launch { client.status.collectLatest { status ->
            decide.isVisible = status.conflicts > 0
            // The countdown of a status ends with it.
            status.countdown().collect { show(Badge.of(status, it)) }
        } }
        launch { notes.observePage(Order.NEWEST_CREATION, 1_000).collect { fill(it.items) } }
        launch { client.status.map { it.conflicts }.distinctUntilChanged().collect { mark() } }
    }

    private fun top() = JPanel(BorderLayout()).apply {
        border = BorderFactory.createEmptyBorder(8, 8, 8, 8)
        badge.apply {
            isOpaque = true
            foreground = Color.WHITE
            font = font.deriveFont(Font.BOLD)
            border = BorderFactory.createEmptyBorder(6, 12, 6, 12)
        }
        add(badge, BorderLayout.WEST)
        add(JPanel(FlowLayout(FlowLayout.RIGHT)).apply {
            add(decide.apply { addActionListener { decide() } })
            add(JCheckBox("Work offline").apply {
                addActionListener { client.setNetwork(if (isSelected) Network.DOWN else Network.UP) }
            })
            add(JButton("Try now").apply { addActionListener { client.retryNow() } })
            add(JButton("New note").apply { addActionListener { create() } })
        }, BorderLayout.EAST)
    }

    private fun middle(): Component {
        list.cellRenderer = Cell
        list.addListSelectionListener { if (!it.valueIsAdjusting && !filling) list.selectedValue?.let(::edit) }
        editor.lineWrap = true
        editor.wrapStyleWord = true
        editor.border = BorderFactory.createEmptyBorder(8, 8, 8, 8)
        editor.isEnabled = false
        editor.document.addDocumentListener(object : DocumentListener {
            override fun insertUpdate(e: DocumentEvent) = typed()
            override fun removeUpdate(e: DocumentEvent) = typed()
            override fun changedUpdate(e: DocumentEvent) = typed()
        })
        return JSplitPane(JSplitPane.HORIZONTAL_SPLIT, JScrollPane(list), JScrollPane(editor)).apply {
            dividerLocation = 240
        }
    }

    private fun show(now: Badge) {
        badge.text = now.text
        badge.background = now.colour
    }

    private fun fill(records: List<Record<Note>>) {
        filling = true
        shown.clear()
        shown.addAll(records)
        list.selectedIndex = records.indexOfFirst { it.id == open }
        filling = false
        // What another device wrote, unless something is being typed.
        val now = records.firstOrNull { it.id == open } ?: return
        if (saving?.isActive != true && now.value.content != editor.text) edit(now)
    }

    private fun edit(record: Record<Note>) {
        open = record.id
        filling = true
        editor.text = record.value.content
        editor.isEnabled = true
        filling = false
    }

    private fun typed() {
        if (filling) return
        val id = open ?: return
        saving?.cancel()
        saving = launch {
            delay(PAUSE_MS)
            save(id, editor.text)
        }
    }

    /** Offline or not, the write is durable when this returns; the badge tells of the rest. */
    private suspend fun save(id: String, text: String) {
        try {
            notes.put(id, Note(text))
        } catch (refused: DataException) {
            JOptionPane.showMessageDialog(this, refused.message, "Not saved", JOptionPane.ERROR_MESSAGE)
        }
    }

    private fun create() {
        val id = UUID.randomUUID().toString()
        open = id
        launch { save(id, "New note") }
    }

    private suspend fun mark() {
        Cell.conflicts = notes.conflicts().map { it.id }.toSet()
        list.repaint()
    }

    private fun decide() = launch {
        val conflict = notes.conflicts().firstOrNull() ?: return@launch
        val choices = arrayOf("Keep mine", "Keep theirs", "Keep both")
        val chosen = JOptionPane.showOptionDialog(
            this@NotesWindow, sides(conflict), "Changed in two places", JOptionPane.DEFAULT_OPTION,
            JOptionPane.QUESTION_MESSAGE, null, choices, choices[2],
        )
        val resolution: Resolution<Note> = when (chosen) {
            0 -> Resolution.KeepLocal
            1 -> Resolution.KeepServer
            2 -> Resolution.Merged(Note("${side(conflict.local)}\n${side(conflict.server)}"))
            else -> return@launch
        }
        notes.resolve(conflict.id, resolution)
    }

    private fun sides(conflict: Conflict<Note>) = JPanel(BorderLayout(0, 8)).apply {
        add(JLabel("<html><b>Here:</b> ${escaped(conflict.local)}</html>"), BorderLayout.NORTH)
        add(JLabel("<html><b>On the server:</b> ${escaped(conflict.server)}</html>"), BorderLayout.SOUTH)
    }

    private fun side(record: Record<Note>?) = record?.value?.content ?: "(deleted)"

    private fun escaped(record: Record<Note>?) = side(record).replace("&", "&amp;").replace("<", "&lt;")

    /** One line of the list: the note's first line, in bold where it waits for a decision. */
    private object Cell : DefaultListCellRenderer() {
        var conflicts: Set<String> = emptySet()
        private fun readResolve(): Any = Cell

        override fun getListCellRendererComponent(
            list: JList<*>, value: Any?, index: Int, selected: Boolean, focused: Boolean,
        ): Component {
            val record = value as Record<*>
            val line = (record.value as Note).content.lineSequence().first().ifBlank { "(empty)" }
            val waits = record.id in conflicts
            super.getListCellRendererComponent(list, if (waits) "⚠ $line" else line, index, selected, focused)
            font = font.deriveFont(if (waits) Font.BOLD else Font.PLAIN)
            border = BorderFactory.createEmptyBorder(6, 8, 6, 8)
            putClientProperty("html.disable", true)
            return this
        }
    }

    private companion object {
        /** A write for each pause in typing, not for each key. */
        const val PAUSE_MS = 300L
    }
}
