"""Videos, frame by frame, by PyAV: FFmpeg's libraries in this process, so that no child can outlive it.

reading.py   opens what a job was given, and decodes it
ahead.py     lets what reads run in a thread beside what computes
writing.py   encodes an mp4 that browsers play
drawing.py   draws what was followed into a frame
log.py       keeps what was found in each frame
"""
